"""A host's package manager in a folder: what the role asks of it, what a hand does to it, what the night does to it.

apt and dnf are the real ones. yum exists on EL7 alone: dnf stands in for it, which takes yum's words and its settings;
yum's list of locks is written in dnf's way before the night.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from time import time
from typing import Any

from dsdeploy.stacks.order import Order

from . import debs, rpms, world
from .conftest import Key

sources = sys.modules["stack_sources"]
plan = sys.modules["ansible.module_utils.dsdeploy_stack_plan"]
apt = sys.modules["ansible.module_utils.dsdeploy_stack_apt"]
rpm = sys.modules["ansible.module_utils.dsdeploy_stack_rpm"]

Refused = apt.Refused
_AUTOMATIC = """[commands]
apply_updates = yes
random_sleep = 0
network_online_timeout = 0
[emitters]
emit_via = stdio
[base]
"""
# on a host its release is told by a package of the distribution's
_START = """import sys, dnf.rpm, dnf.automatic.main as one
dnf.rpm.detect_releasever = lambda root: "9"
sys.exit(one.main(sys.argv[1:]))
"""
# what names every server's packages: whoever upgrades at night upgrades NVIDIA's as well
_NIGHTLY = """
Unattended-Upgrade::Origins-Pattern { "origin=NVIDIA"; };
APT::Periodic::Enable "1";
"""


def carried_out(manager: Any, work: Any, order: Order) -> list[str]:
    """Work on a stack as the module does it: rehearsed, applied, held; what was done."""
    done: list[str] = []
    if work.any:
        manager.prepare()
        done = manager.rehearse(work)
        manager.apply(work)
    packages = manager.installed()
    names = plan.held(packages, order["held"], order["foreign_names"])
    if manager.unheld(packages, names):
        assert manager.hold(packages, names)
        done.append("held")
    return done


class Ground:
    """One manager in one folder, and the mirror its packages come from."""

    def __init__(self, folder: Path, mirror: tuple[str, Path], key: Key, builder: rpms.Builder | None = None) -> None:
        self.folder, self.mirror, self.key, self.builder = folder, mirror, key, builder
        self.manager, self.published = "", 0

    def told(self, order: Order) -> Order:
        """The order, for the manager it names; a folder has one."""
        if not self.manager:
            self.manager = order["manager"]
            self.root: Any = debs.Root(self.folder) if self.manager == "apt" else self._rpm(order)
        assert order["manager"] == self.manager
        return order

    def _rpm(self, order: Order) -> rpms.Root:
        url = order["repositories"][-1]["url"]
        found = re.search(r"/rhel([0-9]+)/", url)
        assert found, url
        made = rpms.Root(self.folder, found[1])
        if self.manager == "yum":
            locks = self.folder / rpm.LOCKS["yum"].lstrip("/")
            locks.parent.mkdir(parents=True)
            locks.with_suffix(".conf").write_text("[main]\nenabled=1\n")
        return made

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """What the role's programs start; yum's name is dnf here."""
        if command[0] != "yum":
            return self.root.run(command)  # type: ignore[no-any-return]
        self.root.commands.append(command)
        done = subprocess.run(
            ["dnf", *self.root.extra, *command[1:]], env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def publish(self, order: Order, packages: list[world.Package]) -> None:
        """All repositories of an order, each with its key; NVIDIA's have these packages."""
        url, folder = self.mirror
        if self.manager != "apt":
            assert self.builder is not None
            rpms.publish(folder, url, order, packages, self.builder, self.key.public)
            return
        self.published += 1
        for one in order["repositories"]:
            at = folder / one["url"].removeprefix(url)
            debs.repository(at, packages, self.key.words)
            changed = time() + self.published  # HTTP knows seconds: two in one would be the same to apt
            os.utime(at / "InRelease", (changed, changed))
        for one in order["keys"]:
            path = folder / one["url"].removeprefix(url)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.key.public)

    def name_sources(self, order: Order) -> list[str]:
        """As the module does it; the files that changed."""
        given = {"manager": self.manager, "root": str(self.folder), "foreign": order["foreign_names"]}
        given |= {name: order[name] for name in ("keys", "repositories", "pins", "held", "displaced")}
        given["components"] = order.get("components", [])
        made = [*sources.keyrings(given, False), *sources.texts(given, False), *sources.set_aside(given, False)]
        return [str(one["path"]) for one in made]

    def backend(self, order: Order) -> Any:
        if self.manager == "apt":
            return apt.Apt(self.run, order["driver"], order["flavour"])
        named = (self.manager, order["driver"], order["flavour"], order["family_names"], order["stream"])
        return rpm.Rpm(self.run, *named, "", str(self.folder), [] if self.manager == "yum" else self.root.extra)

    def installed(self, order: Order) -> dict[str, str]:
        found: dict[str, str] = self.backend(order).installed()
        return found

    def drivers(self, order: Order) -> set[str]:
        """Versions of all that counts as a part of the driver."""
        there = self.installed(order)
        return {plan.driver_version(there[one]) for one in there if plan.among(one, order["family_names"])} - {""}

    def left(self, order: Order) -> Any:
        names = (order["unwanted"], order["driver"], order["family_names"], order["foreign_names"])
        return plan.work(self.installed(order), order["steps"], *names)

    def install(self, order: Order) -> list[str]:
        """What is left, carried out; what was done. Raises Refused."""
        return carried_out(self.backend(order), self.left(order), order)

    def by_hand(self, order: Order, *packages: tuple[str, str]) -> None:
        """What a person may have installed: names at versions ("" the newest), nothing preferred, nothing held."""
        self.name_sources({**order, "pins": [], "held": []})
        if self.manager == "apt":
            self.root.do("apt-get", "-q", "update")
            words = [f"{name}={version}-1ubuntu1" if version else name for name, version in packages]
            self.root.do("apt-get", "-q", "-y", "install", *words)
            return
        if order["stream"]:
            self.root.dnf("module", "enable", order["stream"])
        self.root.dnf("install", *(f"{name}-{version}" if version else name for name, version in packages))

    def upgrade(self) -> None:
        """By hand, all of it."""
        if self.manager == "apt":
            self.root.do("apt-get", "-q", "-y", "dist-upgrade")
            return
        self._locks()
        self.root.dnf("upgrade")

    def night(self, program: Path | None) -> str:
        """The host's own nightly upgrade, for real; what it said. `program`: unattended-upgrade, of apt's hosts."""
        if self.manager == "apt":
            return self._unattended(program) if program else ""
        self._locks()
        base = [word.removeprefix("--setopt=") for word in self.root.extra if word.startswith("--setopt=")]
        conf = self.folder / "etc/dnf/automatic.conf"
        base += [f"installroot={self.folder}", "best=1", "gpgcheck=1"]
        conf.write_text(_AUTOMATIC + "\n".join(base) + "\n")
        shebang = Path(str(shutil.which("dnf"))).read_text(encoding="utf-8").splitlines()[0].lstrip("#!").split()[0]
        return str(self.root.do(shebang, "-c", _START, str(conf)))

    def _locks(self) -> None:
        """yum has `EPOCH:NAME-VERSION`, dnf `NAME-EPOCH:VERSION`."""
        if self.manager == "yum":
            own = (self.folder / rpm.LOCKS["yum"].lstrip("/")).with_suffix(".list").read_text()
            lines = re.sub(r"(?m)^(\d+):(.+)-([^-]+-[^-]+)$", r"\2-\1:\3", own)
            (self.folder / "etc/dnf/plugins/versionlock.list").write_text(lines)

    def _unattended(self, program: Path) -> str:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        (self.folder / "var/run").mkdir(exist_ok=True)
        (self.folder / "etc/apt/apt.conf.d/99tests").write_text(_NIGHTLY)
        own, dpkg = run / "unattended-upgrade", self.folder / "usr/bin/dpkg"
        text = program.read_text(encoding="utf-8").replace("/var/run/", f"{run}/")
        assert text.count("main(options))") == 1, "unattended-upgrade starts in another way"
        own.write_text(text.replace("main(options))", f"main(options, {str(self.folder)!r}))"), encoding="utf-8")
        if not dpkg.exists():
            dpkg.parent.mkdir(parents=True, exist_ok=True)
            dpkg.symlink_to("/usr/bin/dpkg")
        modules = program.parents[2] / "usr/lib/python3/dist-packages"
        before = self.root.environment
        self.root.environment = {**before, "PYTHONPATH": str(modules)}
        try:
            return str(self.root.do("/usr/bin/python3", str(own), "-v"))
        finally:
            self.root.environment = before
