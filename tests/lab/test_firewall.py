"""Somebody whom the site file does not name finds the router's port, and nothing else on any host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import NETWORK, PROMPT, Lab
from .strangers import scanned, stranger

pytestmark = [pytest.mark.lab, pytest.mark.drill]

ADDRESSES = {name: f"{NETWORK}{end}" for name, end in (("gw1", 11), ("gw2", 12), ("gpu1", 21), ("gpu2", 22))}
VIP = f"{NETWORK}100"


@pytest.fixture(scope="module")
def outside(lab: Lab) -> Iterator[None]:
    lab.serving()
    before = lab.site.read_text()
    with stranger():
        yield
    lab.site.write_text(before)
    lab.up("--only", "prep")


def allow(lab: Lab, before: str, networks: str) -> None:
    lab.site.write_text(f"{before}\nfirewall: {{allow: [{networks}]}}\n")


def test_a_stranger_finds_the_routers_port_and_nothing_else(lab: Lab, outside: None) -> None:
    before = lab.site.read_text()
    open_before = scanned([ADDRESSES["gw1"]])[ADDRESSES["gw1"]]
    assert {22, 2181, 8000} <= set(open_before), "without the section everything is to be seen, also from there"

    allow(lab, before, "10.77.0.0/16")
    refused = lab.up(code=1).stderr
    assert f"firewall.allow does not have {NETWORK}1" in refused and "shut itself out" in refused
    assert "dsdeploy" not in lab.tell("gpu1", "nft list tables 2>/dev/null; true"), "nothing was touched"

    allow(lab, before, f"{NETWORK}1/32")
    lab.up("--only", "prep")
    assert scanned([*ADDRESSES.values(), VIP]) == {
        ADDRESSES["gw1"]: [8000], ADDRESSES["gw2"]: [8000], ADDRESSES["gpu1"]: [], ADDRESSES["gpu2"]: [], VIP: [8000],
    }  # fmt: skip
    assert lab.status()["healthy"], "the site's own hosts reach each other, and this computer all of them"
    assert lab.ask(body=PROMPT)[0] == 200


def test_rules_that_somebody_flushed_are_told_and_come_again(lab: Lab, outside: None) -> None:
    lab.tell("gpu1", "nft flush ruleset")
    assert "firewall: its rules are not loaded" in lab.status(code=1)["hosts"]["gpu1"]["problems"]
    lab.up("--only", "prep")
    assert lab.status()["healthy"]


def test_the_filter_is_there_before_anything_listens_after_a_boot(lab: Lab, outside: None) -> None:
    lab.run("lab", "restart", "gw2", "--site", str(lab.site))
    assert "inet dsdeploy" in lab.tell("gw2", "nft list tables")
    assert scanned([ADDRESSES["gw2"]])[ADDRESSES["gw2"]] in ([8000], [])


def test_without_the_section_it_is_gone(lab: Lab, outside: None) -> None:
    text = lab.site.read_text()
    lab.site.write_text(text[: text.index("\nfirewall:")])
    lab.up("--only", "prep")
    for host in ADDRESSES:
        assert "inet dsdeploy" not in lab.tell(host, "nft list tables")
