"""What a host says after it has read its weights and builds again.

Unlike the other facts this one needs the pull program, which came with the weights, and takes as long as
reading takes. So the host works on by itself under a job id, and whoever asks again with that id gets the
answer, or hears that it is still reading.
"""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.python import PYTHON

if TYPE_CHECKING:
    from dsdeploy.site import Site

PROGRAM = "/usr/local/lib/dsdeploy/weights"
WITHIN_SECONDS = 20
_JOB = secrets.token_hex(16)  # one for this process: asking again is the same question


@dataclass(frozen=True)
class Finding:
    """One file that is not what was verified when it came; `where` is its directory on the host."""

    where: str
    path: str
    kind: str
    wanted: str
    got: str


@dataclass(frozen=True)
class Verification:
    """`ok` is None while the host still reads; then `done` and `total` are bytes, 0 when unknown.

    `error` says why there is no result; `read` counts the files that were read, not only looked at.
    """

    ok: bool | None
    error: str = ""
    digest: str = ""
    read: int = 0
    builds: int = 0
    findings: tuple[Finding, ...] = ()
    done: int = 0
    total: int = 0


class DeepVerification(Verification):
    """The same after every file was read, touched or not."""


V = TypeVar("V", bound=Verification)


class VerificationFact(Fact[Verification]):
    value = Verification

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        if "engine" not in site.hosts[host].roles:
            return None
        return {"model": site.model.name, "version": site.model.version, "job": _JOB}

    def command(self, model: str, version: str, job: str, more: tuple[str, ...] = ()) -> str:
        words = ["-B", "-m", "dsdeploy_weights", "verify", "--json", "--builds", *more]
        words += ["--model", model, "--version", version, "--job", job, "--within", str(WITHIN_SECONDS)]
        return f"cd {PROGRAM} && {PYTHON} {shlex.join(words)}"

    def process(self, output: list[str]) -> Verification:
        return _parse(output, Verification)


class DeepVerificationFact(VerificationFact):
    value = DeepVerification

    def command(self, model: str, version: str, job: str, more: tuple[str, ...] = ("--deep",)) -> str:
        return super().command(model, version, job, more)

    def process(self, output: list[str]) -> DeepVerification:
        return _parse(output, DeepVerification)


def _parse(output: list[str], kind: type[V]) -> V:
    document = _object(output)
    if not document:
        return kind(False, error="no weights were ever pulled here, or their program is gone")
    if document.get("running") is True:
        progress = document.get("progress")
        numbers = progress if isinstance(progress, dict) else {}
        return kind(None, done=_count(numbers.get("bytes_done")), total=_count(numbers.get("bytes_total")))
    if "what" in document:
        return kind(False, error=str(document["what"])[:500])
    builds = [part for part in _items(document.get("builds")) if isinstance(part, dict)]
    findings = tuple(finding for part in (document, *builds) for finding in _findings(part))
    return kind(
        document.get("ok") is True and not findings,
        digest=str(document.get("digest", ""))[:100],
        read=sum(_count(part.get("read")) for part in (document, *builds)),
        builds=len(builds),
        findings=findings,
    )


def _object(output: list[str]) -> dict[str, Any]:
    """The first line that is a JSON object; a host may print anything."""
    for line in output:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _findings(part: dict[str, Any]) -> list[Finding]:
    where = str(part.get("where", ""))[:300]
    return [
        Finding(where, *(str(item.get(key, ""))[:300] for key in ("path", "kind", "wanted", "got")))
        for item in _items(part.get("problems"))
        if isinstance(item, dict)
    ]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
