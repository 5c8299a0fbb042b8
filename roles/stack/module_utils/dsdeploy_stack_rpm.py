"""dnf (EL8, EL9) and yum (EL7), as far as a stack needs them. Standard library, Python >= 3.8."""

from __future__ import annotations

import configparser
import os
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

from ansible.module_utils.dsdeploy_stack_apt import Refused
from ansible.module_utils.dsdeploy_stack_plan import Packages, Step, Work, driver_step, driver_version, movable

Run = Callable[[List[str]], Tuple[int, str, str]]

_QUERY = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\n"
LOCKS = {"dnf": "/etc/dnf/plugins/versionlock", "yum": "/etc/yum/pluginconf.d/versionlock"}
LOCK_PACKAGE = {"dnf": "python3-dnf-plugin-versionlock", "yum": "yum-plugin-versionlock"}
_BEGIN, _END = "# dsdeploy stack: begin", "# dsdeploy stack: end"


class Rpm:
    """`extra` words stand behind the program's name; `root` is where its files lie."""

    def __init__(self, run: Run, manager: str = "dnf", driver: str = "", flavour: str = "", family: Sequence[str] = (),
                 stream: str = "", headers: str = "", root: str = "/", extra: Sequence[str] = ()) -> None:  # fmt: skip
        self.run, self.manager, self.stream, self.root = run, manager, stream, root
        self.driver, self.flavour, self.family = driver, flavour, list(family)
        self.headers = "kernel-devel-%s" % headers if headers else ""
        # our own changes are what the locks are against
        self.program = [manager, *extra, "-y", "-q", "--disableplugin=versionlock"]
        self.rpm = ["rpm", *(["--root", root] if root != "/" else [])]
        self._epochs: Dict[str, str] = {}
        self._seen: Optional[Dict[str, Set[str]]] = None

    def installed(self) -> Packages:
        _, out, _ = self.run([*self.rpm, "-qa", "--qf", _QUERY])
        rows = [line.split("\t") for line in out.splitlines()]
        found = [row for row in rows if len(row) == 3 and row[0] != "gpg-pubkey"]
        self._epochs = {name: epoch for name, epoch, _ in found}
        return {name: version for name, _, version in found}

    def prepare(self) -> None:
        """Fresh metadata, the plugin that holds versions, and the driver's stream."""
        self._checked([*self.program, "makecache"])
        self._plug_in()
        if self.stream and self._stream() != self.stream:
            self._checked([*self.program, "module", "reset", self.stream.split(":")[0]])
            self._checked([*self.program, "module", "enable", self.stream])
        self._seen = None

    def rehearse(self, work: Work) -> List[str]:
        """That all steps can be had; yum and dnf only say so with their exit code."""
        moved = self._moved(work)
        words = [*self._words(work.missing), *moved.values()]
        gone = [name for name in [*work.unwanted, *work.strays] if name not in moved]
        if words:
            self._had(words, gone)
        return ["install %s" % word for word in words] + ["remove %s" % name for name in gone]

    def _had(self, words: Sequence[str], gone: Sequence[str]) -> None:
        """Raise Refused unless these can be had together. yum cannot plan with what it is to remove before: where such
        a package excludes one of these, only whether each is there can be told."""
        try:
            self._checked([*self._install(), "--downloadonly", *words])
        except Refused:
            if self.manager != "yum" or not gone:
                raise
            for word in words:
                self._checked([*self.program, "list", "--showduplicates", word])

    def apply(self, work: Work) -> None:
        """Step by step, the driver with what must equal it; last goes what is still of another one.

        yum cannot replace a package by one of another name: there what is in the way goes first.
        """
        if self.manager == "yum":
            self._remove([*work.unwanted, *work.strays])
        moved, at = list(self._moved(work).values()), driver_step(work.missing)
        for number, step in enumerate(work.missing or [[]]):
            words = [*self._words([step]), *(moved if number == at else [])]
            if words:
                self._checked([*self._install(), *words])
        there = self.installed()
        left = [name for name in work.strays if driver_version(there.get(name, "")) not in ("", self.driver)]
        self._remove([*(name for name in work.unwanted if name in there), *left])

    def _moved(self, work: Work) -> Dict[str, str]:
        """Parts of another driver that exist at the ordered version, with dnf's word for it. A metapackage is content
        with a newer part; and to remove such a part would take away everything that asks for it."""
        if self.manager == "yum":
            return {}
        offered = self._offered()
        return {
            name: "%s-%s-*" % (name, self.driver)
            for name in work.strays
            if movable(name, self.flavour) and self.driver in offered.get(name, ())
        }

    def _plug_in(self) -> bool:
        """Ensure that the plugin is installed; whether that was news."""
        if self._plugged():
            return False
        self._checked([*self.program, "install", LOCK_PACKAGE[self.manager]])
        return True

    def _plugged(self) -> bool:
        """Whether somebody reads the list: without the plugin it holds nothing."""
        return os.path.exists(self._path(".conf"))

    def unheld(self, packages: Packages, names: Sequence[str]) -> List[str]:
        there = self._locked() if self._plugged() else []
        return [name for name in names if self._lock(name, packages[name]) not in there]

    def hold(self, packages: Packages, names: Sequence[str]) -> bool:
        """Our part of the plugin's list, exactly these packages at these versions; whether that was news. The plugin is
        installed first where somebody removed it."""
        came = self._plug_in()
        path = self._path(".list")
        try:
            with open(path, encoding="utf-8") as stream:
                before = stream.read()
        except FileNotFoundError:
            before = ""
        ours = "\n".join([_BEGIN, *(self._lock(name, packages[name]) for name in names), _END]) + "\n"
        head, _, rest = before.partition(_BEGIN + "\n")
        head += "\n" if head and not head.endswith("\n") else ""  # somebody's last line may have no end
        after = head + ours + rest.partition(_END + "\n")[2]
        if after == before:
            return came
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(after)
        os.replace(path + ".new", path)
        return True

    def _locked(self) -> List[str]:
        try:
            with open(self._path(".list"), encoding="utf-8") as stream:
                return stream.read().splitlines()
        except FileNotFoundError:
            return []

    def _lock(self, name: str, version: str) -> str:
        """A package at its version, in the words of the plugin: yum has the epoch in front of the name."""
        epoch = self._epochs.get(name, "0")
        return "%s:%s-%s.*" % (epoch, name, version) if self.manager == "yum" else "%s-%s:%s.*" % (name, epoch, version)

    def _path(self, suffix: str) -> str:
        return os.path.join(self.root, LOCKS[self.manager].lstrip("/") + suffix)

    def _stream(self) -> str:
        """The stream that is enabled now, as `nvidia-driver:580-open`."""
        name = self.stream.split(":")[0]
        parser = configparser.ConfigParser()
        parser.read(os.path.join(self.root, "etc/dnf/modules.d/%s.module" % name))
        if parser.get(name, "state", fallback="") != "enabled":
            return ""
        return "%s:%s" % (name, parser.get(name, "stream", fallback=""))

    def _install(self) -> List[str]:
        """Other versions of the driver are out of sight: a metapackage asks for its parts by `>=` and would get the
        newest ones, and there is no such thing as apt's preferences."""
        versions = sorted({one for found in self._offered().values() for one in found if one != self.driver})
        others = ["%s-%s-*" % (name, version) for name in self.family for version in versions]
        if self.manager == "yum":
            # yum leaves out what it cannot find and is content, so that a rehearsal would prove nothing
            words = ["--setopt=skip_missing_names_on_install=0", *("--exclude=%s" % one for one in others)]
            return [*self.program, *words, "install"]
        # for repositories alone: dnf's own --exclude would also keep what is installed from being replaced
        hidden = ["--setopt=*.excludepkgs=%s" % ",".join(others)] if others else []
        return [*self.program, "--allowerasing", *hidden, "install"]

    def _offered(self) -> Dict[str, Set[str]]:
        """Parts of drivers that the repositories have, by name, with the drivers' versions; asked once."""
        if self._seen is None:
            self._seen = {}
            for name, version in self._listed() if self.family else ():
                if driver_version(version):
                    self._seen.setdefault(name, set()).add(driver_version(version))
        return self._seen

    def _listed(self) -> List[Tuple[str, str]]:
        """Names and versions. yum breaks its list into lines of a terminal's width: there versions alone are told."""
        if self.manager == "yum":
            _, out, _ = self.run([*self.program, "list", "available", "--showduplicates", *self.family])
            return [("", word) for word in out.split()]
        words = ["repoquery", "--available", "--showduplicates", "--qf", "%{name} %{evr}", *self.family]
        _, out, _ = self.run([*self.program, *words])
        rows = [line.split() for line in out.splitlines()]
        return [(row[0], row[1]) for row in rows if len(row) == 2]

    def _words(self, steps: Sequence[Step]) -> List[str]:
        words = [
            one["name"] if one["version"] == "*" else "%(name)s-%(version)s" % one for step in steps for one in step
        ]
        if self.headers and any("nvidia" in word or "cuda-drivers" in word for word in words):
            words.append(self.headers)
        return words

    def _remove(self, names: Sequence[str]) -> None:
        if names:
            keep = ["--noautoremove"] if self.manager == "dnf" else ["--setopt=clean_requirements_on_remove=0"]
            self._checked([*self.program, *keep, "remove", *names])

    def _checked(self, command: List[str]) -> str:
        code, out, err = self.run(command)
        if code != 0:
            raise Refused(_last_words(out, err))
        return out


def _last_words(out: str, err: str) -> str:
    lines = [line for line in (err + "\n" + out).splitlines() if line.strip()]
    return "\n".join(lines[:12])
