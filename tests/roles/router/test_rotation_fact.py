"""What the router's program shows is what the fact understands, with a real HAProxy between them."""

from __future__ import annotations

import json
from typing import Any

from dsdeploy import facts


def show(router: Any) -> str:
    """What `show` prints. The master's socket opens a little after the worker's."""
    shown: list[str] = []

    def answered() -> bool:
        try:
            shown.append(json.dumps(router.program.cli.show(router.paths)))
        except router.program.config.Refused:
            return False
        return True

    router.wait(answered)
    return shown[0]


def test_the_fact_reads_what_the_program_shows(router: Any) -> None:
    rotation = facts.reader(facts.Rotation).process(["== said", show(router), "", "== end 0"])
    assert (rotation.running, rotation.config_runs, rotation.persisted) == (True, True, True)
    assert (rotation.old_workers, rotation.error) == (0, "")
    assert rotation.active == {"gpu1": "blue", "gpu2": "blue"}
    states = {one.name: (one.host, one.colour, one.state, one.open) for one in rotation.servers}
    assert states["gpu1-blue"] == ("gpu1", "blue", "ready", 0)
    assert states["gpu2-green"][2] in ("maint", "drain")
    blue = rotation.server("gpu1", "blue")
    assert blue and blue.up and rotation.releases == (blue.release,)
