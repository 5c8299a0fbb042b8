"""The catalogue's faults in what hosts and this computer have logged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dsdeploy.doctor.catalogue import ENTRIES, Entry
from dsdeploy.doctor.evidence import Evidence
from dsdeploy.doctor.finding import Finding

ASK_ALL = "dsdeploy check SITE"


def findings(given: Evidence) -> Iterator[Finding]:
    """Every entry whose words stand in a log."""
    for entry in ENTRIES:
        pattern = re.compile(entry.pattern)
        for host, source, lines in _logs(given, entry):
            found = next((match for line in reversed(lines) if (match := pattern.search(line))), None)
            if found:
                words = {name: value or "" for name, value in found.groupdict().items()}
                words |= {"host": host or "the host", "model": given.model, "router": given.router}
                words |= {"restart": given.restart(host), "colour": source.removeprefix("engine-")}
                symptom, cause = (text.format_map(words).rstrip(": ") for text in (entry.symptom, entry.cause))
                yield Finding(entry.name, host, symptom, cause, _line(given, host, entry.command, words), entry.rank)


def _line(given: Evidence, host: str, command: str, words: Mapping[str, str]) -> str:
    """An entry's command, filled in; only the entry's own brackets count, not those of a log's words."""
    parts = re.split(r"\[\[(.+?)\]\]", command)
    if len(parts) > 1 and not host:
        return ASK_ALL  # nobody said where: it looks at ports and room on every host
    there = given.hosts[host].on if host else str
    told = (there(part.format_map(words)) if odd % 2 else part.format_map(words) for odd, part in enumerate(parts))
    return "".join(told).rstrip(": ")


def _logs(given: Evidence, entry: Entry) -> Iterator[tuple[str, str, list[str]]]:
    """Host ("" where a run did not say which), and the lines of one source."""
    for name, host in given.hosts.items():
        for source, lines in host.log.items():
            if source.startswith(entry.sources) and not given.parked(name, source.removeprefix("engine-")):
                yield name, source, list(lines)
    if "run" in entry.sources:
        about: dict[str, list[str]] = {}
        for line in given.run:
            name, mark, rest = line.partition(": ")
            known = mark and name in given.hosts
            about.setdefault(name if known else "", []).append(rest if known else line)
        yield from ((name, "run", lines) for name, lines in about.items())
