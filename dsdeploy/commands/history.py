"""`dsdeploy history`: releases on the hosts, and the runs that brought and replaced them."""

from __future__ import annotations

from pathlib import Path

from dsdeploy import output
from dsdeploy.site import load

SHOWN = 20


def history(path: Path, *, as_json: bool) -> int:
    """What every host remembers, together; hosts that cannot be read are named and left out."""
    site = load(path)
    from dsdeploy import hosts
    from dsdeploy.facts import Engines, Epoch, Releases, Rotation, Runs, Weights
    from dsdeploy.releases import recover
    from dsdeploy.releases.view import view
    from dsdeploy.rollout import target

    readings = hosts.read(site, Engines, Epoch, Releases, Rotation, Runs, Weights)
    missing = hosts.unreachable(readings)
    serving = view(site, readings).serving
    left = recover.unfinished(readings)
    whole = target.available(site, readings)
    found = {
        release: files for reading in readings.values() for release, files in (reading.get(Releases) or {}).items()
    }
    releases = [
        {
            "release": release,
            "version": files.manifest.get("version"),
            "created": files.manifest.get("created"),
            "weights_digest": files.manifest.get("weights_digest"),
            "build_key": files.manifest.get("build_key"),
            "runtime_version": files.manifest.get("runtime_version"),
            "settings_digest": files.manifest.get("settings_digest"),
            "serving": release == serving,
            "whole": release in whole,
        }
        for release, files in sorted(found.items(), key=lambda item: str(item[1].manifest.get("created")))
    ]
    runs = [
        {
            "run": past.run,
            "verb": past.verb,
            "who": past.who,
            "at": past.at,
            "epoch": past.epoch,
            "from": past.source,
            "to": past.to,
            "outcome": past.outcome or ("unfinished" if left and left.run == past.run else "not recorded"),
            "step": past.step,
        }
        for past in recover.runs(readings)
    ]
    if as_json:
        output.emit_json(
            {
                "serving": serving or None,
                "releases": releases,
                "runs": runs,
                "problems": [output.problem_dict(problem) for problem in missing],
            }
        )
    else:
        output.table(("RELEASE", "VERSION", "CREATED", ""), [_release(one) for one in releases])
        output.table(("RUN", "WHO", "AT", "FROM", "TO", "OUTCOME"), [_run(one) for one in runs[-SHOWN:]])
        output.errors(missing)
    return 4 if missing else 0


def _release(one: dict[str, object]) -> tuple[str, ...]:
    word = "serves" if one["serving"] else "" if one["whole"] else "not whole on every engine host"
    return (str(one["release"]), str(one["version"]), str(one["created"])[:19], word)


def _run(one: dict[str, object]) -> tuple[str, ...]:
    at = f" at {one['step']}" if one["outcome"] == "unfinished" else ""
    words = [str(one[name] or "-") for name in ("run", "who", "at", "from", "to")]
    words[2] = words[2][:19]
    return (*words, f"{one['outcome']}{at}")
