"""The Pythons of a host: the one Ansible can be told to use, where /usr/bin/python3 is too old or not there at all, and
on engine hosts the others, one of which an engine's wheels may need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

USUAL = "/usr/bin/python3"
# EL8 and EL7 have theirs beside the system's; Software Collections' lies in /opt, an operator's own in /usr/local.
# 3.13 late: ansible-core 2.16 was not made for it
PATHS = (
    USUAL,
    *(f"/usr/bin/python3.{minor}" for minor in (12, 11, 10, 9, 8, 13)),
    "/opt/rh/rh-python38/root/usr/bin/python3",
    *(f"/usr/local/bin/python3.{minor}" for minor in (13, 12, 11, 10)),
)
OLDEST = (3, 8)

_LINE = re.compile(r"(/[\w./-]{1,100}) Python ([0-9]{1,2})\.([0-9]{1,3})(?:\.[0-9A-Za-z+]{1,20})?", re.ASCII)


@dataclass(frozen=True)
class Interpreter:
    """`path` is "" where no Python is new enough. `others` are (path, version) of the rest, on engine hosts."""

    path: str = ""
    version: str = ""
    others: tuple[tuple[str, str], ...] = ()


class InterpreterFact(Fact[Interpreter]):
    """The usual one if it is new enough, else the first of the others. Asked on every host, a gateway too; hosts
    without an engine mostly answer with the first and are asked no further."""

    value = Interpreter

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {"every": "engine" in site.hosts[host].roles}

    def command(self, every: bool = False) -> str:
        enough = "" if every else "case $v in 'Python 3.'[89].*|'Python 3.'[1-9][0-9]*) break;; esac; "
        return f'for p in {" ".join(PATHS)}; do [ -x $p ] || continue; v=$($p -V 2>&1); echo "$p $v"; {enough}done'

    def process(self, output: list[str]) -> Interpreter:
        found = []
        for line in output:
            told = _LINE.fullmatch(line.strip()[:200])
            if told and told[1] in PATHS and (int(told[2]), int(told[3])) >= OLDEST:
                found.append((told[1], f"{told[2]}.{told[3]}"))
        return Interpreter(*found[0], tuple(found[1:])) if found else Interpreter()
