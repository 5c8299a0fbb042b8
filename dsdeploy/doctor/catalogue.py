"""Faults that tell themselves in a log, as data: the words, what they mean, what to do.

`symptom`, `cause` and `command` are filled with {host}, {router} (address:port) and the pattern's named groups; what
stands in [[ ]] is run on the host. A pattern is of one line; the newest line that fits counts, once for each host and
each symptom it makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dsdeploy.doctor.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """One diagnosis. `rank` 0 is what stops everything, 9 what may follow from something else."""

    entry: str
    host: str
    symptom: str
    cause: str
    command: str
    rank: int = 5


@dataclass(frozen=True)
class Entry:
    """One known fault. `sources` are prefixes of HostLog's names; `run` is this computer's own log."""

    name: str
    sources: tuple[str, ...]
    pattern: str
    symptom: str
    cause: str
    command: str
    rank: int = 5


ENGINE, ALL, HERE = ("engine",), ("engine", "zookeeper", "haproxy", "run"), ("engine", "run")
LOWER = (
    "lower engine.batching.max_batch_size or engine.context_tokens, or raise engine.memory_fraction, in the site file; "
)
ENTRIES: tuple[Entry, ...] = (
    Entry(
        "memory",
        HERE,
        r"(?P<need>\S.*?) > (?P<fraction>[0-9.]+) x (?P<where>.+?) (?P<has>[0-9.]+ \wiB) = .*; (?P<remedy>.*fit)",
        "the engine does not fit: {need}",
        "it may use {fraction} of {where} {has}; {remedy}",
        LOWER + "then: dsdeploy up SITE",
        2,
    ),
    Entry(
        "memory",
        HERE,
        r"CUDA out of memory\. Tried to allocate (?P<asked>[0-9.]+ \w+)(?:.*?(?P<free>[0-9.]+ \w+) is free)?",
        "CUDA out of memory: it asked for {asked}, {free} was free",
        "weights, KV cache and batches together are larger than the share of the GPU the engine may use",
        LOWER + "then: dsdeploy up SITE",
        2,
    ),
    Entry(
        "memory",
        ENGINE,
        r"No available memory for the cache blocks|cudaMalloc failed: out of memory|unable to allocate \w+ buffer",
        "the GPU has no room left for the KV cache",
        "the weights alone fill the engine's share, or something else uses the GPU: nvidia-smi on {host} shows it",
        LOWER + "then: dsdeploy up SITE",
        2,
    ),
    Entry(
        "memory",
        ("kernel",),
        r"Out of memory: Killed process (?P<pid>\d+) \((?P<name>[^)]*)\)",
        "the kernel killed {name} (pid {pid}): {host} had no memory left",
        "host memory, not the GPU's: weights are read through it, huge pages are taken from it",
        "lower host.hugepages_2mb or engine.memory_fraction in the site file, then: dsdeploy up SITE",
        2,
    ),
    Entry(
        "md5",
        HERE,
        r"(?P<path>\S+): (?P<kind>md5|sha256): wanted (?P<wanted>\w+), got (?P<got>\w+)",
        "{path}: {kind} is {got}, the manifest says {wanted}",
        "the file is damaged, here or at its source, or is another version than its MD5SUMS",
        "dsdeploy up SITE --only weights pulls it again; if it comes back so, mend the source: md5sum {path} there",
        3,
    ),
    Entry(
        "truncated",
        HERE,
        r"(?P<path>\S+): (?P<kind>size|header|missing|content): wanted (?P<wanted>.+), got (?P<got>.+)",
        "{path}: {kind}: {got} instead of {wanted}",
        "the weights are truncated or belong to something else",
        "dsdeploy up SITE --only weights",
        3,
    ),
    Entry(
        "driver",
        ("nvidia-smi", "engine", "kernel"),
        r"Driver/library version mismatch|API mismatch: the client has the version (?P<new>[\d.]+)",
        "driver and library differ: the module in memory is older than what is installed",
        "packages were updated under a loaded driver, by an unattended upgrade most often",
        "drain {host} and reboot it; then: dsdeploy check SITE",
        1,
    ),
    Entry(
        "port",
        ALL,
        r"cannot listen on (?P<at>\S+): Address already in use|[Cc]annot bind socket.*\[(?P<bound>[^\]]+)\]"
        r"|BindException: Address already in use",
        "a port is taken: {at}{bound}",
        "another program listens there",
        "[[ss -ltnp]] names it; stop it, or choose another port in the site file, then: dsdeploy up SITE",
        3,
    ),
    Entry(
        "disk",
        ALL,
        r"No space left on device(?:: (?P<path>\S+))?|Disk quota exceeded",
        "a disk is full: {path}",
        "no space or no inodes on {host}",
        "[[df -h]]; [[df -i]]; remove what is not ours, then: dsdeploy up SITE",
        1,
    ),
    Entry(
        "model",
        HERE,
        r"[Tt]he model `?'?\"?(?P<name>[\w./:-]+)`?'?\"? does not exist|model_not_found",
        "a request named a model that is not served: {name}",
        "the site serves {model}, and clients have to send that name",
        "curl http://{router}/v1/models",
        6,
    ),
    Entry(
        "haproxy",
        ("haproxy-check", "haproxy", "run"),
        r"\[ALERT\].*?(?:parsing \[(?P<at>[^\]]+)\] ?: ?)(?P<why>.+)",
        "HAProxy refuses its configuration at {at}: {why}",
        "the file was changed by hand, or names something this version does not know",
        "dsdeploy up SITE --only router writes it again, checked",
        2,
    ),
    Entry(
        "certificate",
        ALL,
        r"certificate (?:has expired|is not yet valid)|CERTIFICATE_VERIFY_FAILED",
        "a certificate is not valid",
        "it has ended, or the clock of {host} is wrong",
        "[[openssl x509 -noout -dates -in PATH]]; put a new one there, then: dsdeploy up SITE",
        3,
    ),
    Entry(
        "host-key",
        ("run",),
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|shows another host key",
        "a host shows another key than known_hosts has",
        "it was reinstalled, or somebody is in between",
        "compare the key at its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then: {forget}",
        1,
    ),
    Entry(
        "package-lock",
        ("run",),
        r"(?P<path>/var/lib/dpkg/lock\S*|\.rpm\.lock)|package manager .*in use by (?P<holder>.+)",
        "the package manager is busy: {holder}{path}",
        "an unattended upgrade, most often; it ends by itself",
        "wait until it has ended, then: dsdeploy up SITE",
        6,
    ),
)


def findings(given: Evidence) -> Iterator[Finding]:
    """Every entry whose words stand in a log."""
    for entry in ENTRIES:
        pattern = re.compile(entry.pattern)
        for host, lines in _logs(given, entry):
            found = next((match for line in reversed(lines) if (match := pattern.search(line))), None)
            if found:
                words = {name: value or "" for name, value in found.groupdict().items()}
                words |= {"host": host or "the host", "model": given.model, "router": given.router}
                words["forget"] = given.forget("ADDRESS")
                there = given.hosts[host].on if host else (lambda command: f"{command} on the host")
                symptom, cause = (text.format_map(words).rstrip(": ") for text in (entry.symptom, entry.cause))
                yield Finding(entry.name, host, symptom, cause, _line(entry.command, words, there), entry.rank)


def _line(command: str, words: Mapping[str, str], there: Callable[[str], str]) -> str:
    """An entry's command, filled in; only the entry's own brackets count, not those of a log's words."""
    parts = re.split(r"\[\[(.+?)\]\]", command)
    told = (there(part.format_map(words)) if odd % 2 else part.format_map(words) for odd, part in enumerate(parts))
    return "".join(told).rstrip(": ")


def _logs(given: Evidence, entry: Entry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Host ("" for this computer) and the lines of one source."""
    for name, host in given.hosts.items():
        for source, lines in host.log.items():
            if source.startswith(entry.sources):
                yield name, lines
    if "run" in entry.sources:
        yield "", given.run
