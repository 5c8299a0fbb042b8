"""A router as its clients and its runtime socket see it."""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.python import PYTHON
from dsdeploy.facts.shell import UNITS, answered, get, http_status, properties, sections, tcp

if TYPE_CHECKING:
    from dsdeploy.site import Site

SOCKET = "/run/haproxy/dsdeploy.sock"
RELEASE_HEADER = "x-dsdeploy-release"
_SECONDS = 3
_MOST_REQUESTS = 4


@dataclass(frozen=True)
class RouterServer:
    """One colour of one engine host. `status` is haproxy's first word: UP, DOWN, MAINT, DRAIN, NOLB."""

    backend: str
    name: str  # <host>-<colour>
    status: str
    address: str
    sessions: int
    check: str  # the last check: L7OK, L4CON, …
    drained: bool = False  # set to drain; `status` says so only while its checks pass

    @property
    def host(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def colour(self) -> str:
        return self.name.rpartition("-")[2]

    @property
    def in_rotation(self) -> bool:
        """New requests are meant to go there; whether they can is `status`."""
        return not self.drained and not self.status.startswith(("MAINT", "DRAIN"))


@dataclass(frozen=True)
class RouterState:
    """`releases` are those that answered requests sent through the router just now, sorted.

    `health` is the HTTP status of /health, None when nothing answered. `servers` is empty where the
    runtime socket cannot be read; `error` says why a request through the router failed.
    """

    active: bool
    health: int | None
    servers: tuple[RouterServer, ...]
    releases: tuple[str, ...]
    error: str = ""

    @property
    def up(self) -> tuple[RouterServer, ...]:
        return tuple(server for server in self.servers if server.status.startswith("UP"))


class RouterStateFact(Fact[RouterState]):
    value = RouterState

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        if "router" not in site.hosts[host].roles:
            return None
        requests = min(len(site.with_role("engine")), _MOST_REQUESTS)
        return {"address": site.hosts[host].address, "port": site.router.port, "requests": requests}

    def command(self, address: str, port: int, requests: int) -> str:
        models = f"echo '== models'\n{tcp(address, port, get('/v1/models', address), _SECONDS)}"
        unit = f"echo '== unit'; systemctl show {UNITS} haproxy.service"
        health = f"echo '== health'\n{tcp(address, port, get('/health', address), _SECONDS)}"
        stat = f"echo '== stat'\n{asked('show stat;show servers state')}"
        return "\n".join([unit, health, *[models] * max(requests, 1), stat])

    def process(self, output: list[str]) -> RouterState:
        found = sections(output)
        unit = properties(found.get("unit", [])).get("haproxy.service", {})
        answers = _answers(answered(found.get("models", [])))
        releases = {release for lines in answers if (release := _release(lines))}
        errors = [why for lines in answers if (why := _why(lines))] if answers else ["gave no answer"]
        return RouterState(
            active=unit.get("ActiveState") == "active",
            health=http_status(answered(found.get("health", []))),
            servers=tuple(_servers(found.get("stat", []))),
            releases=tuple(sorted(releases)),
            error=errors[0] if errors else "",
        )


# No tool for UNIX sockets is sure to be there; the first that is asks. A colour's state is not needed
# to know that the router answers, so none of them is a condition.
_PERL = (
    "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un($ARGV[0])) or exit 1;"
    ' syswrite S, "$ARGV[1]\\n"; print while <S>'
)
_PYTHON = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
    " s.sendall(sys.argv[2].encode() + b'\\n'); [sys.stdout.write(line) for line in s.makefile()]"
)


def asked(words: str, at: str = SOCKET) -> str:
    """Shell lines that put commands to HAProxy's runtime socket; nothing where there is none."""
    return f"""
if [ -S {at} ]; then
  if command -v socat >/dev/null; then echo '{words}' | timeout 3 socat -t 3 - UNIX-CONNECT:{at}
  elif command -v perl >/dev/null; then timeout 3 perl -e {shlex.quote(_PERL)} {at} '{words}'
  else timeout 3 {PYTHON} -c {shlex.quote(_PYTHON)} {at} '{words}'; fi
fi
"""


def _answers(lines: list[str]) -> list[list[str]]:
    """Several answers, each closed by its `end` line."""
    found: list[list[str]] = []
    one: list[str] = []
    for line in lines:
        one.append(line)
        if line.startswith("end "):
            found.append(one)
            one = []
    return found


def _release(lines: list[str]) -> str | None:
    if http_status(lines) != 200:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if not line:
            break
        if name.strip().lower() == RELEASE_HEADER:
            return value.strip() or None
    return None


def _why(lines: list[str]) -> str:
    """Why this answer names no release; "" when it does."""
    if _release(lines):
        return ""
    status = http_status(lines)
    if status == 200:
        return f"answers without {RELEASE_HEADER}"
    if status is not None:
        return f"answers {status}"
    text = "\n".join(lines)
    if "Connection refused" in text:
        return "nothing listens on its port"
    return f"says nothing for {_SECONDS} s" if "end 124" in text else "gave no answer"


def _servers(lines: list[str]) -> list[RouterServer]:
    """`show stat`: CSV with a `# pxname,svname,…` header; rows of frontends and backends are left out."""
    text = [line.removeprefix("# ") for line in lines if "," in line]
    drained = _drained(lines)
    found = []
    for row in csv.DictReader(text, restval=""):
        name = row.get("svname") or ""
        if name and name not in ("FRONTEND", "BACKEND") and row.get("addr"):
            status = (row.get("status") or "").split() or [""]
            found.append(
                RouterServer(
                    backend=row.get("pxname") or "",
                    name=name,
                    status=status[0],
                    address=row["addr"],
                    sessions=number(row.get("scur") or "") or 0,
                    check=(row.get("check_status") or "").removeprefix("* "),
                    drained=name in drained,
                )
            )
    return found


def _drained(lines: list[str]) -> set[str]:
    """`show servers state`: be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …

    The admin state is a bit set; 0x08 and 0x10 are the two ways to drain (HAProxy management guide, 9.3).
    """
    rows = [line.split() for line in lines if "," not in line]
    return {row[3] for row in rows if len(row) > 6 and (number(row[6]) or 0) & 0x18}
