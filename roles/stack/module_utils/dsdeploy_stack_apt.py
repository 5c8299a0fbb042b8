"""apt and dpkg, as far as a stack needs them. Every change is one apt-get, so that it happens whole or not at all.

Standard library, Python >= 3.8.
"""

from __future__ import annotations

import re
from typing import Callable, List, Sequence, Tuple

from ansible.module_utils.dsdeploy_stack_plan import Packages, Step, Work, driver_step, driver_version, movable

Run = Callable[[List[str]], Tuple[int, str, str]]

# other changes under way are waited for, as the host's own timers do
_APT = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"]
_INST = re.compile(r"^Inst (\S+)(?: \[[^\]]*\])? \((\S+)", re.MULTILINE)
_REMV = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)


class Refused(Exception):
    """A package manager said no; its last words are the message."""


class Apt:
    """`run` gives exit code, standard output and error output of a command."""

    def __init__(self, run: Run, driver: str = "", flavour: str = "", headers: str = "") -> None:
        self.run, self.driver, self.flavour = run, driver, flavour
        self.headers = "linux-headers-%s" % headers if headers else ""

    def installed(self) -> Packages:
        """Every installed package; one that is installed for two architectures counts once."""
        _, out, _ = self.run(["dpkg-query", "-W", "-f", "${db:Status-Status}\\t${Package}\\t${Version}\\n"])
        rows = [line.split("\t") for line in out.splitlines()]
        return {row[1]: row[2].split(":", 1)[-1] for row in rows if len(row) == 3 and row[0] == "installed"}

    def prepare(self) -> None:
        """Fresh package lists."""
        self._apt(["update"])

    def rehearse(self, work: Work) -> List[str]:
        """What all steps together would do, or Refused: nothing is begun that cannot be ended."""
        out = self._apt(["-s", *_ALLOW, "install", *self._words(work.missing), *self._others(work)])
        lines = ["install %s %s" % (name, version) for name, version in _INST.findall(out)]
        return lines + ["remove %s" % name for name in _REMV.findall(out)]

    def apply(self, work: Work) -> None:
        """All packages fetched before the first is touched; then step by step, the driver with what must equal it."""
        others, at = self._others(work), driver_step(work.missing)
        self._apt(["-d", *_ALLOW, "install", *self._words(work.missing), *others])
        for number, step in enumerate(work.missing or [[]]):
            self._apt([*_ALLOW, "install", *self._words([step]), *(others if number == at else [])])

    def _others(self, work: Work) -> List[str]:
        """What is in the way, as words for apt: parts of another driver that exist at the ordered version are moved
        there, the rest goes (`name-`), unless the packages themselves see to it."""
        ours = [name for name in work.strays if movable(name, self.flavour)]
        moved = [name for name in ours if self._candidate(name) == self.driver]
        gone = ["%s-" % name for name in [*work.unwanted, *work.strays] if name not in ours]
        if len(moved) == len(ours):
            return [*moved, *gone]
        try:
            out = self._apt(["-s", *_ALLOW, "install", *self._words(work.missing), *moved, *gone])
        except Refused:  # of two that exclude each other apt keeps the one that is there, until that is told to go
            out = ""
        seen = {name for name, _ in _INST.findall(out)}
        return [*moved, *gone, *("%s-" % name for name in ours if name not in seen and name not in moved)]

    def _candidate(self, name: str) -> str:
        """The driver's version that apt would install of a package now."""
        _, out, _ = self.run(["apt-cache", "policy", name])
        return driver_version(
            "".join(line.split()[1] for line in out.splitlines() if line.strip().startswith("Candidate:"))
        )

    def holds(self) -> List[str]:
        _, out, _ = self.run(["apt-mark", "showhold"])
        return sorted({line.strip().split(":")[0] for line in out.splitlines() if line.strip()})

    def hold(self, packages: Packages, names: Sequence[str]) -> bool:
        """Hold these; whether that was news. What somebody else held stays held."""
        new = [name for name in names if name not in self.holds()]
        if new:
            self._checked(["apt-mark", "-q", "hold", *new])
        return bool(new)

    def unheld(self, packages: Packages, names: Sequence[str]) -> List[str]:
        """Names that are not held yet."""
        there = self.holds()
        return [name for name in names if name not in there]

    def _words(self, steps: Sequence[Step]) -> List[str]:
        words = [
            one["name"] if one["version"] == "*" else "%(name)s=%(version)s" % one for step in steps for one in step
        ]
        if self.headers and any("nvidia" in word or "cuda-drivers" in word for word in words):
            words.append(self.headers)
        return words

    def _apt(self, words: List[str]) -> str:
        return self._checked([*_APT, *words])

    def _checked(self, command: List[str]) -> str:
        code, out, err = self.run(command)
        if code != 0:
            told = [line for line in (err + out).splitlines() if line.startswith(("E:", " ", "dpkg: error"))]
            raise Refused("\n".join(told[:12]) or err.strip() or out.strip()[-800:])
        return out


# our own holds are what keeps an earlier driver; the resolver works around them instead of asking
_ALLOW = ["--allow-downgrades", "--allow-change-held-packages", "--ignore-hold"]
