"""Files into their places: nothing that lives is lost, whatever a disk or a service says. systemctl is stood in for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dsdeploy_backup import exchange, place
from dsdeploy_backup.config import Config
from dsdeploy_backup.errors import Trouble

ID = "1a2b3c4d" * 8


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemctl was told, a line each; every unit runs."""
    shim, lines = tmp_path / "bin", tmp_path / "told"
    shim.mkdir()
    (shim / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {lines}\n')
    (shim / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim}:{os.environ['PATH']}")
    lines.write_text("")
    return lines


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "sets").mkdir()
    names = ("secrets", "state", "sets", "runs", "metrics")
    return Config("lab", "gpu1", str(tmp_path / "repository"), *(tmp_path / name for name in names))


def restored(tmp_path: Path, name: str, files: dict[Path, str]) -> Path:
    """A scratch folder with these files in a set."""
    for path, content in files.items():
        found = tmp_path / "scratch" / "sets" / name / str(path).lstrip("/")
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(content)
    return tmp_path / "scratch"


@pytest.fixture
def member(tmp_path: Path) -> tuple[Path, dict[str, Any], Path, Path]:
    """A ZooKeeper member's two folders, and a restored snapshot of them: (scratch, document, data, log)."""
    data, log = tmp_path / "live" / "data", tmp_path / "live" / "log"
    for folder in (data, log):
        (folder / "version-2").mkdir(parents=True)
        (folder / "version-2" / "now").write_text("live")
    (data / "myid").write_text("1\n")
    scratch = restored(tmp_path, "zookeeper", {
        data / "myid": "1\n", data / "version-2" / "snapshot.5": "old", log / "version-2" / "log.5": "old",
    })  # fmt: skip
    part = {"services": ["zookeeper.service"], "files": {}, "zookeeper": {"data": str(data), "log": str(log)}}
    return scratch, {"sets": {"zookeeper": part}}, data, log


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    """Folders that become small disks of their own; unmounted afterwards."""
    found: list[Path] = []
    yield found
    for folder in reversed(found):
        subprocess.run(["umount", str(folder)], check=True)


def mount(mounts: list[Path], folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    mounts.append(folder)


def bring(config: Config, scratch: Path, document: dict[str, Any], *asked: str) -> list[str]:
    plan = place.plan(config, scratch, document, list(document["sets"]), asked)
    services = place.running(plan.services)
    return place.in_place(plan, services, services, ID)


def test_a_member_whose_log_is_a_disk_of_its_own_gets_its_data_back(
    config: Config, member: tuple[Path, dict[str, Any], Path, Path], told: Path, mounts: list[Path]
) -> None:
    scratch, document, data, log = member
    mount(mounts, log)
    (log / "version-2").mkdir()
    (log / "version-2" / "now").write_text("live")
    os.chown(log, 65534, 65534)  # the account has another number than on the machine of the snapshot
    bring(config, scratch, document)
    assert (data / "version-2" / "snapshot.5").read_text() == (log / "version-2" / "log.5").read_text() == "old"
    assert (log / "version-2.before-1a2b3c4d" / "now").read_text() == "live"
    assert (log / "version-2" / "log.5").stat().st_uid == 65534 and (data / "myid").stat().st_uid == os.getuid()
    assert told.read_text().splitlines()[-1] == "start zookeeper.service"


def test_a_folder_that_cannot_be_exchanged_takes_nothing_with_it(
    config: Config, member: tuple[Path, dict[str, Any], Path, Path], told: Path, mounts: list[Path]
) -> None:
    scratch, document, data, log = member
    mount(mounts, log / "version-2")
    (log / "version-2" / "now").write_text("live")
    before = {str(path) for path in data.parent.rglob("*")}
    with pytest.raises(Trouble, match=r"Device or resource busy.*taken back.*zookeeper\.service started again"):
        bring(config, scratch, document)
    assert (data / "version-2" / "now").read_text() == (log / "version-2" / "now").read_text() == "live"
    assert {str(path) for path in data.parent.rglob("*")} == before
    assert told.read_text().splitlines()[-2:] == ["stop zookeeper.service", "start zookeeper.service"]


def test_a_service_that_cannot_be_stopped_keeps_its_files_and_the_others_run_again(
    config: Config, tmp_path: Path, told: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "a").write_text("live")
    shim = tmp_path / "bin" / "systemctl"
    shim.write_text(shim.read_text() + '[ "$1 $2" != "stop b.service" ]\n')
    part = {"services": ["a.service", "b.service"], "files": {str(live / "a"): {}}}
    with pytest.raises(Trouble, match=r"b\.service cannot be stopped; nothing was changed; a\.service"):
        bring(config, restored(tmp_path, "x", {live / "a": "old"}), {"sets": {"x": part}})
    assert [path.name for path in live.iterdir()] == ["a"] and (live / "a").read_text() == "live"
    assert "start a.service" in told.read_text()


def test_a_way_back_that_is_blocked_too_says_where_everything_is(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Path
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    for name in "ab":
        (live / name).write_text("live")
    scratch = restored(tmp_path, "x", {live / "a": "old", live / "b": "old"})
    part = {"services": ["x.service"], "files": {str(live / name): {} for name in "ab"}}
    real, calls = os.replace, []

    def dying(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) > 2:
            raise OSError(5, "Input/output error", source)
        real(source, target)

    monkeypatch.setattr(exchange.os, "replace", dying)
    with pytest.raises(
        Trouble, match=rf"{live}/a could not be taken back, .*{live}/a\.before-1a2b3c4d; not started: x"
    ):
        bring(config, scratch, {"sets": {"x": part}})
    assert (live / "a.before-1a2b3c4d").read_text() == (live / "b").read_text() == "live"
    assert "start x.service" not in told.read_text()


@pytest.mark.parametrize("fails", range(1, 7))
def test_whichever_rename_or_sync_fails_all_is_as_it_was(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Path, fails: int
) -> None:
    """Two files: each is moved aside, replaced, and its folder synced. A disk that failed once lets the way back go."""
    live = tmp_path / "live"
    live.mkdir()
    for name in "ab":
        (live / name).write_text("live")
    scratch = restored(tmp_path, "x", {live / "a": "old", live / "b": "old"})
    calls: list[int] = []

    def once(real: Callable[..., None]) -> Callable[..., None]:
        def called(*given: Any) -> None:
            calls.append(1)
            if len(calls) == fails:
                raise OSError(5, "Input/output error", str(given[0]))
            real(*given)

        return called

    monkeypatch.setattr(exchange.os, "replace", once(os.replace))
    monkeypatch.setattr(exchange, "sync", once(exchange.sync))
    part = {"services": ["x.service"], "files": {str(live / name): {} for name in "ab"}}
    with pytest.raises(Trouble, match=r"taken back, nothing is changed; x\.service started again"):
        bring(config, scratch, {"sets": {"x": part}})
    assert {path.name: path.read_text() for path in live.iterdir()} == {"a": "live", "b": "live"}


@pytest.fixture
def router(tmp_path: Path) -> tuple[Path, dict[str, Any], Path]:
    """A router's map, newer than the snapshot's, and a state file that was lost."""
    live = tmp_path / "live" / "haproxy"
    live.mkdir(parents=True)
    (live / "map").write_text("gpu1-green\n")
    scratch = restored(tmp_path, "router", {live / "map": "gpu1-blue\n"})
    part = {"services": ["haproxy.service"], "by_name": True, "files": {str(live / "map"): {}}}
    return scratch, {"sets": {"router": part}}, live


def test_a_rotation_that_is_there_stays_unless_it_is_asked_for(
    config: Config, router: tuple[Path, dict[str, Any], Path], told: Path
) -> None:
    scratch, document, live = router
    assert "1 files stay as they are" in bring(config, scratch, document)[0]
    assert (live / "map").read_text() == "gpu1-green\n" and told.read_text() == ""
    bring(config, scratch, document, "router")
    assert (live / "map").read_text() == "gpu1-blue\n"
    assert told.read_text().splitlines()[-3:] == [
        "stop haproxy.service", "reset-failed haproxy.service", "start haproxy.service",
    ]  # fmt: skip


def test_members_that_wait_for_each_other_do_not_keep_a_router_down(
    config: Config, member: tuple[Path, dict[str, Any], Path, Path], router: tuple[Path, dict[str, Any], Path]
) -> None:
    scratch, document, *_ = member
    document["sets"]["router"] = router[1]["sets"]["router"]
    plan = place.plan(config, scratch, document, ["zookeeper", "router"], ["zookeeper", "router"])
    both = ["zookeeper.service", "haproxy.service"]
    assert plan.services == both
    assert plan.after(both, start=False, always=False) == ["haproxy.service"]
    assert plan.after(both, start=True, always=False) == both
    assert plan.after([], start=True, always=True) == both


def test_a_snapshot_from_before_that_rule_is_held_to_it_too(
    config: Config, router: tuple[Path, dict[str, Any], Path], told: Path
) -> None:
    """As the role has it: the set's rules on this host count beside those that came with the snapshot."""
    vars_ = yaml.safe_load((Path(__file__).parents[3] / "roles" / "backup" / "vars" / "main.yml").read_text())
    (one,) = [one for one in vars_["__backup_what"] if one["name"] == "router"]
    assert one["services"] == ["haproxy.service", "keepalived.service"]
    scratch, document, live = router
    document["sets"]["router"] = {"services": [], "files": {str(live / "map"): {}}}
    (config.sets / "router.json").write_text(json.dumps(one))
    bring(config, scratch, document)
    assert (live / "map").read_text() == "gpu1-green\n"
    assert place.plan(config, scratch, document, ["router"], ["router"]).services == one["services"]
    (live / "map").unlink()
    plan = place.plan(config, scratch, document, ["router"], [])
    assert [pair.live for pair in plan.pairs] == [live / "map"] and plan.services == one["services"]
    assert plan.starts == []  # --start is for members; a router that stood still is the operator's to start


def test_the_same_restore_again_keeps_what_was_made_meanwhile(config: Config, tmp_path: Path, told: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    part = {"files": {str(live / "epoch"): {}}}
    for made in ("one", "two", "three"):
        (live / "epoch").write_text(made)
        bring(config, restored(tmp_path, "x", {live / "epoch": "old"}), {"sets": {"x": part}})
    kept = {path.name: path.read_text() for path in live.iterdir()}
    assert kept == {
        "epoch": "old", "epoch.before-1a2b3c4d": "one", "epoch.before-1a2b3c4d.1": "two",
        "epoch.before-1a2b3c4d.2": "three",
    }  # fmt: skip
