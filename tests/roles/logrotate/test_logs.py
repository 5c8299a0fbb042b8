"""The program that keeps logs within bounds, with the real logrotate in a folder of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "logrotate"
sys.path.insert(0, str(ROLE / "files"))

import logs  # noqa: E402
import logs_bound  # noqa: E402

needs_logrotate = pytest.mark.skipif(
    not shutil.which("logrotate", path="/usr/sbin:/usr/bin"), reason="logrotate is not installed here (Debian package)"
)
GOOD = 'logrotate state -- version 2\n"/var/log/a.log" 2026-11-22-10:10:34\n"/var/log/b.log" 2026-1-2-3:4:5\n'


def test_a_state_file_that_was_cut_anywhere_is_seen_as_damaged() -> None:
    assert logs.sound(GOOD) and logs.sound("")
    for cut in range(1, len(GOOD) - 1):
        whole = GOOD[:cut].endswith("\n")
        assert logs.sound(GOOD[:cut]) == whole, GOOD[:cut]
    assert not logs.sound(GOOD + "\0" * 4096)


def test_the_oldest_go_until_the_rest_fits() -> None:
    old = [logs_bound.Old(at, 100, f"x.{at}") for at in (1.0, 2.0, 3.0)]
    assert logs_bound.surplus(old, 0, 300) == []
    assert logs_bound.surplus(old, 50, 300) == old[:1]
    assert logs_bound.surplus(old, 1000, 300) == old  # the live ones are not ours to remove


def test_rotated_names_are_told_from_live_ones(tmp_path: Path) -> None:
    for name in ("a.log", "a.log.1", "a.log.2.gz", "a.log-20261122-1795344634.gz", "a.log.bak", "b.txt.1", "log"):
        (tmp_path / name).write_text("x")
    (tmp_path / "a.log.7").symlink_to(tmp_path / "a.log")
    found = {Path(one.path).name for one in logs_bound.rotated([f"{tmp_path}/*.log"])}
    assert found == {"a.log.1", "a.log.2.gz", "a.log-20261122-1795344634.gz"}


@pytest.fixture
def host(tmp_path: Path) -> dict[str, Any]:
    """Settings of a host in a folder; its rules are the role's own template."""
    (tmp_path / "more").mkdir()
    (tmp_path / "log").mkdir()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = lambda text: f"# {text}"
    rules = environment.from_string((ROLE / "templates" / "logrotate.conf.j2").read_text()).render(
        ansible_managed="managed", __logrotate_logs=[f"{tmp_path}/log/*.log"], logrotate_file_bytes=65536,
        logrotate_keep=50, __logrotate_more=tmp_path / "more",
    )  # fmt: skip
    (tmp_path / "rules").write_text(rules)
    (tmp_path / "rules").chmod(0o644)
    settings = {
        "config": str(tmp_path / "rules"), "state": str(tmp_path / "state"), "logs": [f"{tmp_path}/log/*.log"],
        "total": 1_000_000, "metrics": str(tmp_path / "logs.prom"),
    }  # fmt: skip
    (tmp_path / "logs.json").write_text(json.dumps(settings))
    return {**settings, "root": tmp_path}


def run(host: dict[str, Any]) -> tuple[int, str]:
    program = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROLE / 'files')!r}); import logs;"
               f"from pathlib import Path; sys.exit(logs.main(Path({str(host['root'] / 'logs.json')!r})))"]  # fmt: skip
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def used(host: dict[str, Any]) -> int:
    return sum(path.stat().st_size for path in (host["root"] / "log").iterdir())


@needs_logrotate
def test_the_rules_are_what_logrotate_accepts_and_a_wrong_one_is_refused(
    host: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/bin")
    assert logs.refuse(host["config"]) == 0
    wrong = host["root"] / "wrong"
    wrong.write_text((host["root"] / "rules").read_text().replace("maxsize", "maxsise"))
    assert logs.refuse(str(wrong)) == 1  # logrotate ends with 0 for this one


@needs_logrotate
def test_a_log_written_fast_stays_below_the_total(host: dict[str, Any]) -> None:
    log = host["root"] / "log" / "a.log"
    for _ in range(8):
        with log.open("ab") as stream:  # random: compression must not do the work of the cap
            stream.write(os.urandom(300_000))
        code, said = run(host)
        assert code == 0, said
        assert used(host) <= host["total"]
    assert log.stat().st_size == 0
    text = (host["root"] / "logs.prom").read_text()
    assert "dsdeploy_logs_last_run_success 1" in text and "dsdeploy_logs_limit_bytes 1000000" in text


@needs_logrotate
def test_there_is_room_below_the_total_for_the_copy_too(host: dict[str, Any]) -> None:
    settings = {**{name: value for name, value in host.items() if name != "root"}, "file": 65536}
    (host["root"] / "logs.json").write_text(json.dumps(settings))
    log = host["root"] / "log" / "a.log"
    log.write_bytes(os.urandom(90_000))
    for number in range(1, 5):
        log.with_name(f"a.log.{number}.gz").write_bytes(os.urandom(220_000))
    code, said = run(host)
    assert code == 0 and "214 KiB of old logs removed" in said
    assert [Path(one.path).name for one in logs_bound.rotated(host["logs"])] == [
        "a.log.4.gz", "a.log.3.gz", "a.log.2.gz", "a.log.1.gz",
    ]  # fmt: skip


@needs_logrotate
def test_nobody_removes_rotated_logs_while_logrotate_is_at_work(host: dict[str, Any]) -> None:
    (host["root"] / "more" / "other").write_text(
        f"{host['root']}/log/*.txt {{\n size 1k\n rotate 1\n prerotate\n"
        f" flock --nonblock {host['root']}/lock true || touch {host['root']}/held\n endscript\n}}\n"
    )
    (host["root"] / "log" / "b.txt").write_bytes(b"x" * 2000)
    assert run(host) == (0, "") and (host["root"] / "held").exists()


@needs_logrotate
@pytest.mark.parametrize("damage", [GOOD[:40], "\0" * 100, "logrotate state -- version 2\n" + "x" * 99999])
def test_a_truncated_state_file_is_put_aside_and_rotation_goes_on(host: dict[str, Any], damage: str) -> None:
    Path(host["state"]).write_text(damage)
    (host["root"] / "log" / "a.log").write_bytes(b"x" * 100_000)
    code, said = run(host)
    assert code == 0 and "state file was damaged" in said
    assert len(logs_bound.rotated(host["logs"])) == 1
    assert "dsdeploy_logs_state_damaged 1" in (host["root"] / "logs.prom").read_text()
    assert run(host) == (0, "")


@needs_logrotate
def test_a_rule_of_another_role_that_fails_is_told_and_the_others_rotate(host: dict[str, Any]) -> None:
    other = host["root"] / "other.log"
    other.write_bytes(b"x" * 100_000)
    (host["root"] / "more" / "other").write_text(
        f"{other} {{\n size 1k\n rotate 1\n postrotate\n exit 1\n endscript\n}}\n"
    )
    (host["root"] / "log" / "a.log").write_bytes(b"x" * 100_000)
    code, said = run(host)
    assert code == 1 and "error" in said
    assert len(logs_bound.rotated(host["logs"])) == 1
    assert "dsdeploy_logs_last_run_success 0" in (host["root"] / "logs.prom").read_text()


@needs_logrotate
def test_a_full_disk_is_no_reason_to_stop(host: dict[str, Any]) -> None:
    folder = host["root"] / "log"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        for number in range(6):
            (folder / f"a.log.{number + 1}").write_bytes(b"x" * 200_000)
        live = folder / "a.log"
        live.write_bytes(b"x" * 500_000)
        with (folder / "filler.txt").open("wb") as stream, pytest.raises(OSError, match="No space"):
            stream.write(b"x" * 4_000_000)
            stream.flush()
        code, said = run(host)
        assert code == 0, said
        assert "old logs removed" in said and live.stat().st_size == 0
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(host: dict[str, Any]) -> Iterator[Path]:
    """The folder of the logs as a file system of 2 MiB."""
    folder = host["root"] / "log"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(log: Path) -> None:
    """As a program does that appends until it cannot; its last line tells why."""
    with log.open("ab", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"x" * 4095 + b"\n")
    with log.open("r+b") as stream:
        stream.seek(-9, os.SEEK_END)
        stream.write(b"the end.\n")


@needs_logrotate
@pytest.mark.parametrize("total", [1_000_000, 100_000_000], ids=["over the total", "below it"])
def test_a_live_log_that_alone_fills_the_disk_is_cut_and_its_end_kept(
    host: dict[str, Any], small_disk: Path, total: int
) -> None:
    """There is no old log to remove and no room for a copy: rotation cannot help."""
    settings = {**{name: value for name, value in host.items() if name != "root"}, "total": total, "file": 65536}
    (host["root"] / "logs.json").write_text(json.dumps(settings))
    log = small_disk / "a.log"
    fill(log)
    with log.open("ab") as writer:  # the program that writes it does not notice
        _, said = run(host)
        assert "a.log was cut by 1984 KiB" in said, said
        writer.write(b"after\n")
    assert log.stat().st_size == logs_bound.TAIL + 6 and log.read_bytes().endswith(b"the end.\nafter\n")
    assert f"dsdeploy_logs_removed_bytes {2 * 2**20 - logs_bound.TAIL}" in (host["root"] / "logs.prom").read_text()
    code, said = run(host)
    assert code == 0, said  # the next look finds everything in order


@needs_logrotate
def test_a_disk_that_something_else_fills_costs_no_small_log(host: dict[str, Any], small_disk: Path) -> None:
    settings = {**{name: value for name, value in host.items() if name != "root"}, "file": 65536}
    (host["root"] / "logs.json").write_text(json.dumps(settings))
    log = small_disk / "a.log"
    log.write_bytes(b"x" * 60_000)
    fill(small_disk / "filler.txt")
    run(host)
    assert log.stat().st_size in (0, 60_000)  # rotated or as it was


def test_neither_a_link_nor_a_second_name_is_cut(tmp_path: Path) -> None:
    """Who may write into the folder of a log must not have us cut a file of somebody else's."""
    other = tmp_path / "shadow"
    other.write_bytes(b"x" * 200_000)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.log").symlink_to(other)
    os.link(other, tmp_path / "log" / "b.log")
    cuts = logs_bound.relieve([f"{tmp_path}/log/*.log"], 0)
    assert not any(one.gone for one in cuts) and other.stat().st_size == 200_000
    assert "b.log could not be cut" in "".join(one.said("") for one in cuts)
