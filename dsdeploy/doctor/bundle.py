"""Evidence as an archive that may be sent to others: secrets removed, and enough that doctor runs on it.

evidence.json   what hosts said
site.yml        the site file
run/…           logs and journal of the newest run on this computer; never its inventory
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsdeploy.doctor import evidence
from dsdeploy.doctor.evidence import Evidence
from dsdeploy.errors import DsdeployError

NAME = "evidence.json"
MOST = 4 << 20  # bytes of one file; the end of a longer one is kept
KEPT = (".log", ".jsonl", ".json")
GONE = "[removed]"
WORDS = (
    r"[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|credential|authorization"
    r"|webhook|signature)"
)
SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(rf"(?i)({WORDS}[\"']?\s*[:=]\s*)(?:Bearer\s+|Basic\s+)?(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}}\]]+)"),
    re.compile(r"(?i)\b(Bearer\s+|Basic\s+)[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(r"(\w+://[^\s/:@]*:)[^\s/@]+(?=@)"),
    re.compile(r"\b(?:hf_|sk-|ghp_|AKIA)[A-Za-z0-9_-]{12,}"),
)
NOT_SECRET = {"tokens", "context_tokens"}


def clean(text: str, known: Iterable[str] = ()) -> str:
    """Without what looks like a secret, and without those that are `known` to be some."""
    plain = {word for word in known if len(word) >= 6}
    escaped = {json.dumps(word)[1:-1] for word in plain}  # as lines of JSON have it
    for secret in sorted(plain | escaped, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern in SECRETS:
        text = pattern.sub(_removed, text)
    return text


def _removed(found: re.Match[str]) -> str:
    name = re.match(r"[\w.-]*", found[0])
    if name and name[0].lower() in NOT_SECRET:
        return found[0]
    return (found[1] if found.re.groups else "") + GONE


def write(path: Path, given: Evidence, site_text: str, run: Mapping[str, str], known: Iterable[str] = ()) -> None:
    """Make the archive, readable by the operator only. Raises DsdeployError."""
    secrets = tuple(known)
    parts = {NAME: json.dumps(given.as_json(), indent=1), "site.yml": site_text}
    parts |= {f"run/{name}": text for name, text in run.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in parts.items():
                content = _cleaned(name, text, secrets).encode()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(given.at)
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise DsdeployError(
            f"the archive cannot be written: {error.strerror}", str(path), f"df -h {path.parent}"
        ) from error


def _cleaned(name: str, text: str, secrets: tuple[str, ...]) -> str:
    """JSON is cleaned string by string, so that it stays JSON."""
    if name != NAME:
        return clean(text, secrets)

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return clean(value, secrets) if isinstance(value, str) else value

    return json.dumps(walk(json.loads(text)), indent=1)


def read(path: Path) -> Evidence:
    """The evidence of an archive. Raises DsdeployError for what is none."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            member = archive.extractfile(NAME)
            if member is None:
                raise KeyError(NAME)
            return evidence.from_json(json.loads(member.read(64 << 20)))
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        hint = "dsdeploy doctor SITE --bundle FILE makes one"
        raise DsdeployError(f"not a bundle of doctor's: {error}", str(path), hint) from error


def run_files(folder: Path | None) -> dict[str, str]:
    """Logs of a run by name, the one that was written last at the end.

    The inventory is not among them, for what it has of paths and of hosts' settings.
    """
    if folder is None:
        return {}
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix in KEPT]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path))
    return {str(path.relative_to(folder)): _end(path) for path in found[-200:]}


def _end(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MOST))
        return file.read(MOST).decode("utf-8", "replace")
