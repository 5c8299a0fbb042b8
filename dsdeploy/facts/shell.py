"""Pieces of shell that several facts use. Every value put into a command goes through shlex.quote."""

from __future__ import annotations

import json
import shlex

UNITS = "-p Id -p LoadState -p ActiveState -p SubState -p Result -p NRestarts -p MainPID"


def tcp(address: str, port: int, text: str, seconds: int) -> str:
    """Send text, print what comes back until the other side closes. Needs bash, for /dev/tcp.

    Each line that comes back is printed behind `| `, so that no answer can look like ours;
    bash's own words (`Connection refused`) come the same way, and `end <status>` follows:
    0, or 124 when the other side stayed silent for so long.
    """
    program = 'exec 3<>"/dev/tcp/$0/$1" && printf %s "$2" >&3 && cat <&3'
    words = ["timeout", "-k", "1", str(seconds), "bash", "-c", program, address, str(port), text]
    return f"{{ {shlex.join(words)} 2>&1; rc=$?; echo; echo \"end $rc\"; }} | head -c 65536 | sed 's/^/| /'"


def answered(lines: list[str]) -> list[str]:
    """What `tcp` brought back, without its marks; the `end` line is kept last."""
    kept = [line[2:] for line in lines if line.startswith("| ")]
    return [line.rstrip("\r") for line in kept]


def get(path: str, address: str) -> str:
    """A request for one page, after which the server closes the connection."""
    return f"GET {path} HTTP/1.0\r\nHost: {_host(address)}\r\nConnection: close\r\n\r\n"


def post(path: str, address: str, body: dict[str, object]) -> str:
    """The same with a JSON body."""
    text = json.dumps(body)
    kind = f"Content-Type: application/json\r\nContent-Length: {len(text)}"
    return f"POST {path} HTTP/1.0\r\nHost: {_host(address)}\r\nConnection: close\r\n{kind}\r\n\r\n{text}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def http_status(lines: list[str]) -> int | None:
    """200 from `HTTP/1.1 200 OK`; None when what answered is not HTTP, or nothing did."""
    words = lines[0].split() if lines else []
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        return None
    return int(words[1][:3])


def properties(lines: list[str]) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units: {unit: {property: value}}. Blocks end with an empty line."""
    units: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for line in [*lines, ""]:
        name, equals, value = line.partition("=")
        if equals:
            block[name] = value
        elif block:
            units[block.get("Id", "")] = block
            block = {}
    return units


def sections(lines: list[str]) -> dict[str, list[str]]:
    """Lines grouped under the `== <title>` line before them."""
    found: dict[str, list[str]] = {}
    body: list[str] = []
    for line in lines:
        if line.startswith("== "):
            body = found.setdefault(line[3:].strip(), [])
        else:
            body.append(line)
    return found
