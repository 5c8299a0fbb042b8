"""What `dsdeploy status` prints and how it leaves, without a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import hosts, output
from dsdeploy.commands.status import status
from dsdeploy.errors import SiteError
from dsdeploy.hosts import Reading

SITE = """\
site: t
stack: cpu
hosts:
  gw1: {address: 10.1.0.1, roles: [router, monitor, zookeeper]}
  gpu1: {address: 10.1.0.2, roles: [engine]}
model: {name: m, version: v1, source: /mnt/weights}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site none of whose hosts can be reached."""

    def read(told: Any, *kinds: Any, **options: Any) -> dict[str, Reading]:
        return {name: Reading(name, False, "no SSH: No route to host") for name in told.hosts}

    monkeypatch.setattr(hosts, "read", read)
    output.console.cache_clear()
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return path


def test_unhealthy_is_exit_1_and_every_problem_is_said(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(site) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "t is not healthy: gw1: no SSH: No route to host (and 3 more)"
    assert lines[1].split() == ["HOST", "RELEASE", "COLOUR", "ENGINE", "ROUTER", "ZOOKEEPER"]
    assert lines[-1] == "problem: gpu1: no SSH: No route to host"
    assert "\x1b" not in "".join(lines)


def test_json_is_one_document(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(site, as_json=True) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["healthy"] is False and set(value["hosts"]) == {"gw1", "gpu1"}


def test_a_limit_that_names_no_host_is_refused(site: Path) -> None:
    with pytest.raises(SiteError, match="the site has no host gpu9"):
        status(site, limit=("gpu9",))
