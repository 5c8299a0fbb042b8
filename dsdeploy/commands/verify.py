"""`dsdeploy verify`: every engine host reads its weights and builds again and says what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsdeploy import output
from dsdeploy.errors import DsdeployError, HostUnreachable
from dsdeploy.site import Site, load

if TYPE_CHECKING:
    from dsdeploy.facts.verification import Verification
    from dsdeploy.hosts import Reading

GOOD, BAD = 0, 1
_TRIES = 3  # a host that goes silent between two questions is asked again this often


def verify(site_path: Path, as_json: bool, deep: bool, limit: tuple[str, ...]) -> int:
    """0 when all files are what was verified, 1 with findings, 4 when a host cannot be asked.

    Files not touched since then are trusted without reading, unless ``deep``.
    """
    site = load(site_path)
    names = tuple(name for name in site.with_role("engine") if not limit or name in limit)
    if not names:
        raise DsdeployError("none of these hosts has the role engine", f"site {site.site}", "choose another --limit")
    found, silent = _ask(site, names, deep)
    if as_json:
        output.emit_json(_document(found, silent))
    else:
        _show(found, silent, site_path)
    if silent:
        return HostUnreachable.exit_code
    return GOOD if all(result.ok for result in found.values()) else BAD


def _ask(site: Site, names: tuple[str, ...], deep: bool) -> tuple[dict[str, Verification], dict[str, Reading]]:
    """Every host's result in the site's order, and the readings of the hosts that gave none."""
    from dsdeploy import hosts
    from dsdeploy.facts.verification import DeepVerification, Verification

    kind = DeepVerification if deep else Verification
    found: dict[str, Verification] = {}
    silent: dict[str, Reading] = {}
    left = dict.fromkeys(names, _TRIES)
    while left:
        for name, reading in hosts.read(site, kind, names=tuple(left)).items():
            result = reading.get(Verification)
            if result is None:
                left[name] -= 1
                silent[name] = reading
            else:
                silent.pop(name, None)
                found[name] = result
            if (result is not None and result.ok is not None) or not left[name]:
                del left[name]
        _tell(found, left)
    for name in silent:
        found.pop(name, None)
    return {name: found[name] for name in names if name in found}, silent


def _tell(found: Mapping[str, Verification], left: Mapping[str, int]) -> None:
    reading = [name for name in left if name in found]
    if reading:
        done, total = (sum(getattr(found[name], what) for name in reading) for what in ("done", "total"))
        output.note(f"{', '.join(reading)}: still reading, {done >> 20} of {total >> 20} MiB")


def _document(found: Mapping[str, Verification], silent: Mapping[str, Reading]) -> dict[str, Any]:
    seen = {name: {"reachable": True, **asdict(result)} for name, result in found.items()}
    mute = {name: {"reachable": False, "ok": False, "error": _why(reading)} for name, reading in silent.items()}
    return {"ok": not silent and all(result.ok for result in found.values()), "hosts": seen | mute}


def _why(reading: Reading) -> str:
    return reading.error or "; ".join(reading.missing.values()) or "no answer"


def _show(found: Mapping[str, Verification], silent: Mapping[str, Reading], site_path: Path) -> None:
    rows = [(name, _verdict(result), str(result.read), str(result.builds)) for name, result in found.items()]
    output.table(("HOST", "WEIGHTS AND BUILDS", "FILES READ", "BUILDS"), rows)
    for name, result in found.items():
        for finding in result.findings:
            output.say(f"{name}: {finding.where}/{finding.path}: {finding.kind}")
            output.say(f"  wanted {finding.wanted}, got {finding.got}")
    for name, reading in silent.items():
        output.say(f"{name}: {_why(reading)}")
    if not all(result.ok for result in found.values()):
        output.say(f"to repair, only what is bad: dsdeploy up {site_path}")


def _verdict(result: Verification) -> str:
    if result.error:
        return result.error
    return "good" if result.ok else f"{len(result.findings)} bad files"
