"""haproxy.cfg and releases.map as rendered from an inventory."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

LIMITS = {"requests_per_second": 50, "burst": 75}


def accepted(haproxy: str, folder: Path, text: str, releases: str) -> subprocess.CompletedProcess[str]:
    (folder / "releases.map").write_text(releases)
    (folder / "haproxy.cfg").write_text(text)
    command = [haproxy, "-c", "-f", str(folder / "haproxy.cfg")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"router_address": "fd00::1", "router_models": ["a", "-b", "org/model:1"]},
        {"router_vip": "127.0.0.9", "router_access_log": True, "router_rate_limit": LIMITS},
        {"router_max_body_bytes": 16 * 1024 * 1024},
    ],
)
def test_haproxy_accepts_it(haproxy: str, rendering: ModuleType, tmp_path: Path, changes: dict[str, Any]) -> None:
    changes = {"__router_map": str(tmp_path / "releases.map"), **changes}
    text = rendering.render("haproxy.cfg.j2", **changes)
    done = accepted(haproxy, tmp_path, text, rendering.render("releases.map.j2", **changes))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "WARNING" in line and "state file" not in line] == []


def test_a_change_of_colour_alone_is_no_change_of_structure(rendering: ModuleType, program: SimpleNamespace) -> None:
    blue = program.config.parse(rendering.render("haproxy.cfg.j2"))
    green = program.config.parse(rendering.render("haproxy.cfg.j2", router_engines=rendering.engines("green")))
    assert blue.active == {"gpu1-blue", "gpu2-blue"}
    assert green.active == {"gpu1-green", "gpu2-green"}
    assert blue.structure == green.structure
    assert program.config.with_active(blue, green.active).text == green.text


@pytest.mark.parametrize("changes", [{"router_port": 8001}, {"router_models": ["m"]}, {"router_rate_limit": LIMITS}])
def test_any_other_change_is(rendering: ModuleType, program: SimpleNamespace, changes: dict[str, Any]) -> None:
    before = program.config.parse(rendering.render("haproxy.cfg.j2"))
    assert program.config.parse(rendering.render("haproxy.cfg.j2", **changes)).structure != before.structure


def test_the_program_knows_the_checks_that_the_template_sets(rendering: ModuleType, program: SimpleNamespace) -> None:
    assert " fall 2 rise 2 " in rendering.render("haproxy.cfg.j2")
    assert program.runtime._FULL_HEALTH == 2 + 2 - 1


def test_an_engine_without_a_release_has_no_line_in_the_map(rendering: ModuleType) -> None:
    engines = rendering.engines()
    engines[1]["release"] = None
    del engines[3]["release"]
    lines = rendering.render("releases.map.j2", router_engines=engines).splitlines()
    assert lines[-3:] == ["#", "gpu1-blue r-blue", "gpu2-blue r-blue"]
