"""What `dsdeploy status` prints and how it leaves, without a host."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dsdeploy import hosts, output
from dsdeploy.commands.status import parts, status, watch
from dsdeploy.errors import DsdeployError, SiteError
from dsdeploy.facts import Disk, Disks, Measured
from dsdeploy.hosts import Reading
from dsdeploy.quorum import Quorum
from dsdeploy.site import load
from dsdeploy.state import HostStatus, RouterStatus, Status

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


def told(disk: Disk | None, **measured: dict[str, float]) -> dict[str, Reading]:
    """gw1 collects; both hosts could be read."""
    values: dict[type[Any], Any] = {Measured: Measured(measured), Disks: Disks({"/srv": disk} if disk else {})}
    return {"gw1": Reading("gw1", True, "", values), "gpu1": Reading("gpu1", True, "", {})}


def test_figures_stand_where_somebody_has_measured(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = {"requests_per_second": 2.04, "tokens_per_second": 61.0, "gpu_used": 0.4249}
    readings = told(Disk("/srv", "/", 1000, 250, None), gpu1=engine)
    monkeypatch.setattr(hosts, "read", lambda *words, **options: readings)
    status(site)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["HOST", "REQ/S", "TOK/S", "GPU", "DISK"] in lines
    assert ["gw1", "-", "-", "-", "75%"] in lines and ["gpu1", "2.0", "61.0", "42%", "-"] in lines
    status(site, as_json=True)
    shown = json.loads(capsys.readouterr().out)["hosts"]
    assert shown["gpu1"]["figures"] == {**engine, "gpu_used": 0.425} and shown["gw1"]["figures"] == {"disk_used": 0.75}


def test_a_site_that_measures_nothing_has_no_such_table(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(site)
    assert "REQ/S" not in capsys.readouterr().out


class Terminal(io.StringIO):
    """Each write kept apart: what reaches a terminal in one piece is drawn in one."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """80 columns, 24 lines; Ctrl-C comes in the third pause."""
    made, pauses = Terminal(), []
    monkeypatch.setattr(output, "console", lambda: Console(file=made, force_terminal=True, width=80, height=24))

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("dsdeploy.commands.status.sleep", sleep)
    return made


def test_watch_draws_over_what_stands_there_and_erases_nothing(site: Path, terminal: Terminal) -> None:
    assert watch(site) == 130
    drawn, after = terminal.getvalue().split("\x1b[?1049l")
    frames = [write for write in terminal.writes if "Ctrl-C ends" in write]
    assert len(frames) == 3 and drawn.count("\x1b[?1049h") == 1
    assert re.search(r"\x1b\[\d*[JK]", drawn) is None  # nothing is cleared before it is drawn: no flicker
    for frame in frames:
        assert frame.startswith("\x1b[H")
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).split("\n")
        assert len(lines) == 24 and {len(line) for line in lines} == {80}
    assert "t is not healthy" in after and "problem: gpu1" in after


def test_watch_is_for_terminals(site: Path) -> None:
    with pytest.raises(DsdeployError, match="draws on a terminal"):
        watch(site)


def test_watch_and_json_exclude_each_other(site: Path) -> None:
    from click.testing import CliRunner

    from dsdeploy.cli import cli

    done = CliRunner().invoke(cli, ["status", str(site), "--watch", "--json"])
    assert done.exit_code == 2 and "--json says it once" in done.output


def test_the_readmes_sample_is_what_status_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's site, well, as the code lays it out; what rich leaves at the ends of lines is not shown."""
    root = Path(__file__).resolve().parent.parent
    lab, release = load(root / "inventory" / "lab" / "site.yml"), "v1-9c1a1648ab59"
    found = {
        name: HostStatus(
            host.address, True, host.roles, release if "engine" in host.roles else None,
            "blue" if "engine" in host.roles else None, "ok" if "engine" in host.roles else None,
            ("leader" if name == "gpu2" else "follower") if "zookeeper" in host.roles else None, {}, (), (),
            figures={"disk_used": 0.34},
        )
        for name, host in lab.hosts.items()
    }  # fmt: skip
    routers = {name: RouterStatus(True, release, 2, ()) for name in lab.with_role("router")}
    members = tuple(member.host for member in lab.members)
    words = f"lab is healthy: release {release}, 2 engines, 2 routers, quorum 3/3"
    whole = Status("lab", True, words, release, Quorum(True, "gpu2", members, members, 2, "", {}), found, routers, ())
    console = Console(file=io.StringIO(), width=output.PIPE_WIDTH, highlight=False, soft_wrap=True)
    for part in parts(whole, lab):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert "\n".join(printed) in (root / "README.md").read_text(encoding="utf-8"), "\n".join(printed)
