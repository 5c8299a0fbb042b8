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
        {"router_metrics_readers": ["127.0.0.1", "fd00::9"]},
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


KEEPALIVED = {"router_vip": "10.0.0.100", "__router_vrid": 100, "__router_host": {"interface": "eth7"}}


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_adverts_go_to_the_peers_alone(rendering: ModuleType) -> None:
    peers = ["10.0.0.2", "10.0.0.3"]
    told = words(rendering.render("keepalived.conf.j2", router_peers=peers, router_address="10.0.0.1", **KEEPALIVED))
    start = told.index("unicast_peer {")
    assert told[start + 1 : start + 4] == [f"{peer} min_ttl 255 max_ttl 255" for peer in peers] + ["}"]
    assert {"unicast_src_ip 10.0.0.1", "check_unicast_src", "interface eth7", "10.0.0.100/32"} < set(told)


def test_a_wait_for_a_processor_does_not_kill_whoever_holds_the_address(rendering: ModuleType) -> None:
    """Real-time processes get SIGKILL after so many microseconds without a pause; keepalived's default is 10,000."""
    told = words(rendering.render("keepalived.conf.j2", **KEEPALIVED))
    (limit,) = [line.split()[1] for line in told if line.startswith("vrrp_rlimit_rttime")]
    assert int(limit) >= 1_000_000


def test_a_single_router_has_nobody_to_tell(rendering: ModuleType) -> None:
    told = words(rendering.render("keepalived.conf.j2", **KEEPALIVED))
    assert [line for line in told if "unicast" in line] == [] and "nopreempt" in told


@pytest.mark.parametrize(
    ("vip", "number"),
    [("10.0.0.1", 1), ("10.0.0.255", 255), ("10.0.1.0", 255), ("fd00::1", 1), ("fd00::100", 255), ("fd00::1ff", 255)],
)
def test_the_routers_number_is_the_last_byte_of_the_address(rendering: ModuleType, vip: str, number: int) -> None:
    assert rendering.evaluate("__router_vrid", router_vip=vip) == str(number)
