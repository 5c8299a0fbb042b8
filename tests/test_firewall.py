"""Who may reach the hosts: from the site file to the rules that nft gets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import drift, firewall, plan, preflight, site
from dsdeploy.errors import SiteError
from dsdeploy.facts import PacketFilter, SiteId, reader
from dsdeploy.facts.script import build
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

HOSTS = {
    "gw": {"address": "10.0.0.1", "roles": ["router"]},
    "gpu": {"address": "fd00::7", "roles": ["engine", "zookeeper"]},
}


def made(allow: list[str] | None, hosts: dict[str, Any] | None = None) -> Site:
    whole: dict[str, Any] = {
        "site": "x", "stack": "cpu", "hosts": hosts or HOSTS, "model": {"name": "m", "version": "v", "source": "/m"},
    }  # fmt: skip
    return Site.model_validate(whole if allow is None else whole | {"firewall": {"allow": allow}})


def test_the_sites_hosts_are_let_through_and_ranges_do_not_overlap() -> None:
    asked = made(["10.0.0.0/24", "10.0.0.128/25", "192.0.2.7", "fd00:1::/64"])
    assert firewall.every(asked) == {"firewall_allow": ["10.0.0.0/24", "192.0.2.7/32", "fd00::7/128", "fd00:1::/64"]}
    assert firewall.of_host(asked, "gw") == {"firewall_open_ports": [8000]}
    assert firewall.of_host(asked, "gpu") == {}


def test_without_the_section_nobody_is_named_and_everybody_gets_through() -> None:
    asked = made(None)
    assert firewall.every(asked) == {}
    assert firewall.of_host(asked, "gw") == {}
    assert firewall.reaches(asked, "203.0.113.9")


@pytest.mark.parametrize(
    ("address", "through"),
    [
        ("10.0.0.99", True),
        ("::ffff:10.0.0.99", True),
        ("10.0.1.1", False),
        ("fd00::7", True),
        ("fd00::8", False),
        ("", False),
    ],
)
def test_who_gets_through(address: str, through: bool) -> None:
    assert firewall.reaches(made(["10.0.0.0/24"]), address) is through


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("10.0.0.7/8", ["an address inside a network", "10.0.0.0/8", "10.0.0.7 for that one alone"]),
        ("0.0.0.0/0", ["is everybody"]),
        ("::/0", ["is everybody"]),
        ("10.0.0.0/33", ["not a network"]),
        ("10.0.0.0/255.0.0.0", ["not a network"]),
        ("fe80::1%eth0", ["not a network"]),
        ("example.net", ["not a network"]),
    ],
)
def test_what_is_not_a_network_is_told(tmp_path: Path, written: str, words: list[str]) -> None:
    path = tmp_path / "site.yml"
    path.write_text(f"""
site: x
stack: cpu
hosts:
  gw: {{address: 10.0.0.1, roles: [router, engine, zookeeper]}}
model: {{name: m, version: v, source: /m}}
firewall: {{allow: ["{written}"]}}
""")
    with pytest.raises(SiteError) as caught:
        site.load(path)
    text = " ".join(f"{p.where} {p.what} {p.hint}" for p in caught.value.problems)
    assert "site.yml:7" in text and "firewall.allow" in text
    for word in words:
        assert word in text


def test_a_host_known_by_name_is_refused_beside_a_firewall(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text("""
site: x
stack: cpu
hosts:
  gw: {address: gw.example.net, roles: [router, engine, zookeeper]}
model: {name: m, version: v, source: /m}
firewall: {allow: [10.0.0.0/8]}
""")
    with pytest.raises(SiteError) as caught:
        site.load(path)
    (problem,) = caught.value.problems
    assert "hosts.gw.address: gw.example.net is a name" in problem.what and problem.where.endswith("site.yml:5:17")


def told(seen: PacketFilter) -> dict[str, Reading]:
    return {"gw": Reading("gw", True, values={PacketFilter: seen, SiteId: SiteId("x")})}


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        ("10.0.0.99", ""),
        ("203.0.113.9", "firewall.allow does not have 203.0.113.9, from where this computer reaches gw"),
        ("", "firewall.allow does not have this computer as gw sees it"),
    ],
)
def test_whoever_sets_it_up_does_not_shut_himself_out(caller: str, words: str) -> None:
    found = [p.what for p in preflight.problems(made(["10.0.0.0/24"]), told(PacketFilter(caller, False)))]
    assert [what for what in found if "firewall" in what and words in what] == [w for w in found if "firewall" in w]
    assert any(words in what for what in found) if words else not any("firewall" in what for what in found)


def test_rules_that_are_not_loaded_are_told_and_planned() -> None:
    asked, flushed, whole = made(["10.0.0.0/24"]), PacketFilter("10.0.0.9", False), PacketFilter("10.0.0.9", True)
    assert "firewall: its rules are not loaded" in drift.problems(asked, told(flushed)["gw"])
    assert not [text for text in drift.problems(asked, told(whole)["gw"]) if "firewall" in text]
    for seen, wanted in ((flushed, ["packet filter: 10.0.0.0/24 and the site's hosts"]), (whole, [])):
        actions = plan.make(asked, told(seen), None).actions
        assert [action.what for action in actions if "filter" in action.what] == wanted


def test_the_caller_is_found_above_a_program_that_has_forgotten_it() -> None:
    command = build([reader(PacketFilter).command()], "m4rk")
    script = ["sh", "-c", 'env -i PATH=/usr/bin:/bin sh -c "$1"; exit 0', "sh", command]
    environment = os.environ | {"SSH_CONNECTION": "192.0.2.4 5 192.0.2.5 22"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert "SSH_CONNECTION=192.0.2.4 5 192.0.2.5 22" in done.stdout.splitlines()
