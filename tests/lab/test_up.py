"""From bare machines to tokens, then every promise about what runs: in this order, on one lab."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from .conftest import MODEL, PROMPT, Lab

pytestmark = pytest.mark.lab


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not what():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(1)


def test_plan_of_bare_machines_lists_every_stage_and_touches_nothing(lab: Lab) -> None:
    plan = json.loads(lab.run("plan", str(lab.site), "--json").stdout)
    assert {action["stage"] for action in plan["actions"]} == {
        "prep",
        "weights",
        "build",
        "ensemble",
        "engine",
        "router",
    }
    assert plan["problems"] == [] and plan["serving"] is None
    dry = json.loads(lab.run("up", str(lab.site), "--check", "--json").stdout)
    assert dry == plan
    assert lab.ssh("gpu1", "ls -d /srv/dsdeploy /var/lib/dsdeploy 2>/dev/null || echo none").strip() == "none"


def test_up_takes_bare_machines_to_a_serving_model(lab: Lab) -> None:
    lab.up()
    status, headers, body = lab.ask(body=PROMPT)
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"]
    assert headers["x-dsdeploy-release"].startswith("v1-")


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    assert "0 changed" in lab.up().stderr


def test_status_tells_the_whole_truth_as_json(lab: Lab) -> None:
    status = lab.status()
    assert status["healthy"] is True
    assert status["release"].startswith("v1-")
    quorum = status["quorum"]
    assert quorum["ok"] is True and quorum["voters"] == 3 and quorum["leader"] in quorum["members"]
    assert (quorum["serving"], quorum["majority"]) == (3, 2)
    assert set(status["hosts"]) == {"gw1", "gw2", "gpu1", "gpu2"}
    for host in status["hosts"].values():
        assert {"reachable", "roles", "release", "colour", "engine", "problems"} <= set(host)
        assert host["problems"] == []
    assert set(status["routers"]) == {"gw1", "gw2"}


@pytest.mark.parametrize("router", ["gw1", "gw2"])
def test_each_router_serves_only_what_is_allowed(lab: Lab, router: str) -> None:
    assert lab.ask("/v1/models", router=router)[0] == 200
    assert lab.ask("/health", router=router)[0] == 200
    assert lab.ask("/slots", router=router)[0] == 404
    assert lab.ask("/metrics", router=router)[0] == 404
    assert lab.ask(body=PROMPT | {"model": "gpt-9"}, router=router)[0] == 404
    assert announce(lab, router, 2_000_000) == 413


def announce(lab: Lab, router: str, length: int) -> int:
    """The answer to the headers of a request alone: a body too large is refused before it is sent."""
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((lab.address(router), 8000), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        return int(connection.recv(64).split()[1])


@pytest.mark.parametrize(
    ("host", "stop", "start", "word"),
    [
        ("gpu1", "dsdeploy-engine@blue", "dsdeploy-engine@blue", "engine"),
        ("gpu2", "zookeeper", "zookeeper", "ZooKeeper"),
        ("gw1", "haproxy", "haproxy", "router"),
    ],
)
def test_a_stopped_part_is_named_and_back_again_is_healthy(
    lab: Lab, host: str, stop: str, start: str, word: str
) -> None:
    lab.ssh(host, f"systemctl stop {stop}")
    sick = lab.status(code=1)
    assert sick["healthy"] is False
    named = " ".join([*sick["hosts"][host]["problems"], *sick["routers"].get(host, {}).get("problems", [])])
    assert word.lower() in named.lower()
    lab.ssh(host, f"systemctl start {start}")
    wait_for(lambda: lab.run("status", str(lab.site), code=None).returncode == 0)


def test_up_mends_a_stopped_engine(lab: Lab) -> None:
    lab.ssh("gpu2", "systemctl stop dsdeploy-engine@blue")
    lab.up()
    assert lab.status()["healthy"] is True


def test_kernel_settings_and_owners_are_as_declared(lab: Lab) -> None:
    assert "[never]" in lab.ssh("gpu1", "cat /sys/kernel/mm/transparent_hugepage/enabled")
    assert int(lab.ssh("gpu1", "cat /proc/sys/vm/nr_hugepages")) >= 64
    for unit in ("dsdeploy-thp", "dsdeploy-engine@blue", "zookeeper"):
        assert lab.ssh("gpu1", f"systemctl is-enabled {unit}").strip() == "enabled"
    assert lab.ssh("gw1", "systemctl is-enabled haproxy").strip() == "enabled"
    shown = lab.ssh("gpu1", "stat -c '%U:%G %a' /srv/dsdeploy /srv/dsdeploy/weights /var/lib/dsdeploy/tmp")
    assert shown.splitlines() == ["root:root 755", "root:root 755", "root:root 700"]
    users = lab.ssh("gpu1", "ps -o user= -p $(systemctl show -p MainPID --value dsdeploy-engine@blue)")
    assert users.strip() == "dsdeploy"


@pytest.mark.parametrize("host", ["gpu1", "gw1"])
def test_a_restarted_machine_comes_back_by_itself(lab: Lab, host: str) -> None:
    lab.run("lab", "restart", host, "--site", str(lab.site))
    wait_for(lambda: lab.run("status", str(lab.site), code=None).returncode == 0, seconds=90)


def test_the_inventory_works_with_plain_ansible(lab: Lab) -> None:
    inventory = lab.folder / "plain.yml"
    inventory.write_text(lab.run("inventory", str(lab.site)).stdout)
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(inventory), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(listed.stdout)["engine"]["hosts"]) == {"gpu1", "gpu2"}
    assert MODEL in listed.stdout
