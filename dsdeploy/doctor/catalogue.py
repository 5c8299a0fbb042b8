"""Faults that tell themselves in a log, as data: the words, what they mean, what to do.

`symptom`, `cause` and `command` are filled with {host}, {router} (address:port), {restart}, {colour} of an engine and
the pattern's named groups; `command` is a line for the operator's shell, SITE the site file in it, and what stands in
[[ ]] is run on the host. A pattern is of one line; the newest line that fits counts, once for each host and each
symptom it makes.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    "lower engine.batching.max_batch_size or engine.context_tokens, or raise engine.memory_fraction, in the site file"
)
EDIT = "${{EDITOR:-vi}} SITE && dsdeploy up SITE"
ENTRIES: tuple[Entry, ...] = (
    Entry(
        "memory",
        HERE,
        r"(?P<need>\S.*?) > (?P<fraction>[0-9.]+) x (?P<where>.+?) (?P<has>[0-9.]+ \wiB) = .*; (?P<remedy>.*fit)",
        "the engine does not fit: {need}",
        "it may use {fraction} of {where} {has}; {remedy}: " + LOWER,
        EDIT,
        2,
    ),
    Entry(
        "memory",
        HERE,
        r"CUDA out of memory\. Tried to allocate (?P<asked>[0-9.]+ \w+)(?:.*?(?P<free>[0-9.]+ \w+) is free)?",
        "CUDA out of memory: it asked for {asked}, {free} was free",
        "weights, KV cache and batches together are larger than the share of the GPU the engine may use: " + LOWER,
        EDIT,
        2,
    ),
    Entry(
        "memory",
        ENGINE,
        r"No available memory for the cache blocks|cudaMalloc failed: out of memory|unable to allocate \w+ buffer",
        "the GPU has no room left for the KV cache",
        "the weights alone fill the engine's share, or something else uses the GPU, as nvidia-smi on {host} shows: "
        + LOWER,
        EDIT,
        2,
    ),
    Entry(
        "memory",
        HERE,
        r"insufficient memory \(attempted to allocate (?P<asked>[0-9.]+ \w+)\)",
        "the engine asked for {asked} at once and did not get it",
        "weights or KV cache are larger than what {host}, or a limit of the engine's unit, lets it have: " + LOWER,
        EDIT,
        2,
    ),
    Entry(
        "memory",
        ("kernel",),
        r"[Oo]ut of memory: Killed process (?P<pid>\d+) \((?P<name>[^)]*)\)",
        "the kernel killed {name} (pid {pid}): {host} had no memory left",
        "host memory, not the GPU's: weights are read through it, huge pages are taken from it; lower "
        "host.hugepages_2mb or engine.memory_fraction in the site file",
        EDIT,
        2,
    ),
    Entry(
        "memory",
        ENGINE,
        r"killed by the OOM killer|Failed with result 'oom-kill'",
        "the kernel killed the engine of {host}: there was no memory left",
        "host memory, not the GPU's, or the unit's own limit of it: " + LOWER,
        EDIT,
        2,
    ),
    Entry(
        "md5",
        ("run",),
        r"(?P<path>\S+): (?P<kind>md5|sha256): wanted (?P<wanted>\w+), got (?P<got>\w+)",
        "{path}: {kind} is {got}, the manifest says {wanted}",
        "the file is damaged, or is another version than its manifest: where it comes so again, its source is to be "
        "mended first",
        "dsdeploy up SITE --only weights",
        3,
    ),
    Entry(
        "truncated",
        ("run",),
        r"(?P<path>\S+): (?P<kind>size|header|missing|content|index): wanted (?P<wanted>.+), got (?P<got>.+)",
        "{path}: {kind}: {got} instead of {wanted}",
        "the weights are truncated or belong to something else; where they come so again, their source is to be "
        "mended first",
        "dsdeploy up SITE --only weights",
        3,
    ),
    Entry(
        "build",
        HERE,
        r"(?P<path>/\S+): wanted (?:sha256 )?(?P<wanted>\w+)(?: bytes)?, got (?P<got>\w+)",
        "{path} is not what was built: {got} instead of {wanted}",
        "the disk changed it, or somebody did; it is set aside and built anew from the weights",
        "dsdeploy up SITE",
        3,
    ),
    Entry(
        "runtime",
        ENGINE,
        r"(?P<why>(?:ModuleNotFound|Import)Error: .+|error while loading shared libraries: .+|Failed at step EXEC .+)",
        "the runtime is broken: {why}",
        "a file of it is gone or damaged; without its marker the next run installs it anew",
        "[[rm -f /srv/dsdeploy/{colour}/runtime/.complete]] && dsdeploy up SITE",
        3,
    ),
    Entry(
        "driver",
        ("nvidia-smi", "engine", "kernel"),
        r"Driver/library version mismatch|API mismatch: the client has the version (?P<new>[\d.]+)",
        "driver and library differ: the module in memory is older than what is installed",
        "packages were updated under a loaded driver; the host has to be drained and restarted",
        "{restart}",
        1,
    ),
    Entry(
        "port",
        ALL,
        r"cannot listen on (?P<at>\S+): Address already in use|[Cc]annot bind socket.*\[(?P<bound>[^\]]+)\]"
        r"|BindException: Address already in use",
        "a port is taken: {at}{bound}",
        "another program listened there: where the list has it, stop it, or choose another port in the site file",
        "[[ss -ltnp]]; dsdeploy up SITE",
        3,
    ),
    Entry(
        "disk",
        ALL,
        r"No space left on device(?:: (?P<path>\S+))?|Disk quota exceeded",
        "a disk is full: {path}",
        "no space or no inodes on {host}; remove what is not ours",
        "[[df -h]]; [[df -i]]",
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
        "the file was changed by hand, or names something this version does not know; it is written anew, checked",
        "dsdeploy up SITE --only router",
        2,
    ),
    Entry(
        "certificate",
        ("run",),
        r"https://(?P<at>[\w.:\[\]-]+)\S*: the certificate is not trusted: (?P<why>certificate (?:has|is not yet).*)",
        "{at}: {why}",
        "it has ended, or the clock of {host} is wrong; whoever keeps {at} has to put a new one there",
        "curl -skvI https://{at}/ 2>&1 | grep date:; dsdeploy up SITE",
        3,
    ),
    Entry(
        "certificate",
        ("engine", "zookeeper", "haproxy"),
        r"(?P<why>certificate has expired|certificate is not yet valid)",
        "a certificate is not valid: {why}",
        "it has ended, or the clock of {host} is wrong",
        "[[date -u]]; dsdeploy check SITE",
        3,
    ),
    Entry(
        "host-key",
        ("run",),
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|shows another host key",
        "a host showed another key than known_hosts has",
        "it was reinstalled, or somebody is in between; the first line says which, and what to do about its key",
        "dsdeploy check SITE && dsdeploy up SITE",
        1,
    ),
    Entry(
        "package-lock",
        ("run",),
        r"(?P<path>/var/lib/dpkg/lock\S*|\.rpm\.lock)|package manager .*in use by (?P<holder>.+)",
        "the package manager was busy: {holder}{path}",
        "an unattended upgrade, most often; it ends by itself",
        "dsdeploy up SITE",
        6,
    ),
)
