"""What a site file asks of its lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsdeploy.errors import LabError
from dsdeploy.lab.layout import layout
from dsdeploy.site import Site, load

SITE = """
site: {site}
ssh: {ssh}
stack: cpu
hosts:
  one: {{address: {one}, roles: [engine, router, zookeeper]}}
  {two}: {{address: {second}, roles: [engine]}}
model: {{name: m, version: v1, source: "{source}"}}
"""
GOOD = {
    "site": "a", "ssh": "{identity: key, known_hosts: known}", "one": "10.1.2.11", "two": "two", "second": "10.1.2.12",
    "source": "http://10.1.2.10/weights/m/v1/",
}  # fmt: skip


def made(tmp_path: Path, **changes: str) -> Site:
    path = tmp_path / "site.yml"
    path.write_text(SITE.format(**(GOOD | changes)))
    return load(path)


def test_every_host_is_a_machine_and_the_source_is_the_mirror(tmp_path: Path) -> None:
    lab = layout(made(tmp_path))
    assert [(m.name, m.address, m.container) for m in lab.machines] == [
        ("one", "10.1.2.11", "dsdeploy-a-one"),
        ("two", "10.1.2.12", "dsdeploy-a-two"),
        ("mirror", "10.1.2.10", "dsdeploy-a-mirror"),
    ]
    assert (lab.network, str(lab.subnet), lab.folder) == ("dsdeploy-a", "10.1.2.0/24", "weights/m")


def test_the_shipped_lab_is_a_lab(lab_site: Site) -> None:
    lab = layout(lab_site)
    assert [machine.name for machine in lab.machines] == ["gw1", "gw2", "gpu1", "gpu2", "mirror"]
    assert lab.mirror is not None and lab.mirror.address == "10.90.0.10"


@pytest.mark.parametrize("source", ["/srv/models/", "https://models.example/m/v1/", "http://10.9.9.9/weights/m/v1/"])
def test_a_source_elsewhere_needs_no_mirror(tmp_path: Path, source: str) -> None:
    lab = layout(made(tmp_path, source=source))
    assert lab.mirror is None and lab.folder == ""


def test_a_host_called_mirror_keeps_its_name(tmp_path: Path) -> None:
    lab = layout(made(tmp_path, two="mirror"))
    assert lab.mirror is not None
    assert lab.mirror.name == "mirror-0" and len({machine.container for machine in lab.machines}) == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"ssh": "{identity: key}"}, "ssh.known_hosts"),
        ({"ssh": "{user: ops, identity: key, known_hosts: known}"}, "root"),
        ({"ssh": "{port: 2222, identity: key, known_hosts: known}"}, "port 22"),
        ({"second": "gpu2.example"}, "not an IPv4 address"),
        ({"second": "fd00::2"}, "not an IPv4 address"),
        ({"second": "10.1.3.12"}, "outside 10.1.2.0/24"),
        ({"second": "10.1.2.1"}, "taken"),
        ({"second": "10.1.2.255"}, "taken"),
        ({"source": "http://10.1.2.12/weights/m/v1/"}, "is a host's"),
        ({"source": "http://10.1.2.10/weights/m/v7/"}, "does not serve"),
        ({"source": "http://10.1.2.10:8080/weights/m/v1/"}, "does not serve"),
        ({"source": "https://10.1.2.10/weights/m/v1/"}, "does not serve"),
    ],
)
def test_a_site_that_cannot_be_a_lab_is_refused(tmp_path: Path, change: dict[str, str], word: str) -> None:
    with pytest.raises(LabError, match=word) as caught:
        layout(made(tmp_path, **change))
    assert caught.value.where and caught.value.hint
