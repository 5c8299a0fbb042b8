"""The Python on a host that Ansible can be told to use: where /usr/bin/python3 is too old or not there at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsdeploy.facts.fact import Fact

USUAL = "/usr/bin/python3"
# EL8 and EL7 have theirs beside the system's; Software Collections' lies in /opt
PATHS = (
    USUAL,
    *(f"/usr/bin/python3.{minor}" for minor in (12, 11, 10, 9, 8)),
    "/opt/rh/rh-python38/root/usr/bin/python3",
)
OLDEST = (3, 8)

_LINE = re.compile(r"(/[\w./-]{1,100}) Python ([0-9]{1,2})\.([0-9]{1,3})(?:\.[0-9A-Za-z+]{1,20})?", re.ASCII)


@dataclass(frozen=True)
class Interpreter:
    """`path` is "" where no Python is new enough."""

    path: str = ""
    version: str = ""


class InterpreterFact(Fact[Interpreter]):
    """The usual one if it is new enough, else the newest of the others. Asked on every host, a gateway too; most answer
    with the first and are asked no further."""

    value = Interpreter

    def command(self) -> str:
        enough = "case $v in 'Python 3.'[89].*|'Python 3.'[1-9][0-9]*) break;; esac"
        return f'for p in {" ".join(PATHS)}; do [ -x $p ] || continue; v=$($p -V 2>&1); echo "$p $v"; {enough}; done'

    def process(self, output: list[str]) -> Interpreter:
        for line in output:
            found = _LINE.fullmatch(line.strip()[:200])
            if found and found[1] in PATHS and (int(found[2]), int(found[3])) >= OLDEST:
                return Interpreter(found[1], f"{found[2]}.{found[3]}")
        return Interpreter()
