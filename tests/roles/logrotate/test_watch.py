"""The watch over logs that grow faster than any timer looks: what goes, what stays, what is told, how often."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "logrotate" / "files"
sys.path.insert(0, str(FILES))

import logs_bound  # noqa: E402
import logs_watch  # noqa: E402

TOTAL, FILE = 1_000_000, 250_000


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "log").mkdir()
    return {
        "config": str(tmp_path / "rules"), "state": str(tmp_path / "state"), "logs": [f"{tmp_path}/log/*.log"],
        "total": TOTAL, "file": FILE, "metrics": str(tmp_path / "dsdeploy_logs.prom"),
    }  # fmt: skip


def watching(settings: dict[str, Any]) -> tuple[logs_watch.Watch, list[str]]:
    """A watch, and what it says."""
    said = list[str]()
    return logs_watch.Watch(settings, said.append), said


def asked(watch: logs_watch.Watch) -> bool:
    """Whether it asked for a rotation since this was last asked."""
    there = watch.wanted.exists()
    watch.wanted.unlink(missing_ok=True)
    return there


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_over_the_total_goes_old_ones_first(settings: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "log" / "a.log"
    log.write_bytes(b"x" * 400_000)
    for number in (1, 2):
        log.with_name(f"a.log.{number}").write_bytes(b"x" * 400_000)
    watch, said = watching(settings)
    watch.look(0.0)
    assert sorted(path.name for path in log.parent.iterdir()) == ["a.log", "a.log.1"]
    assert log.stat().st_size == 400_000 and said == ["390 KiB of old logs removed: all together were over 0 MiB"]


def test_a_live_log_that_is_over_it_alone_is_cut_and_its_end_kept(settings: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "log" / "a.log"
    log.write_bytes(b"x" * 1_100_000 + b"the end\n")
    watch, said = watching(settings)
    watch.look(0.0)
    assert log.stat().st_size == logs_bound.TAIL and log.read_bytes().endswith(b"the end\n")
    assert len(said) == 1 and "a.log was cut by 1010 KiB" in said[0]
    assert "dsdeploy_logs_gone_bytes_total 1034472" in (tmp_path / "dsdeploy_logs_watch.prom").read_text()


def test_while_logrotate_is_at_work_no_rotated_log_goes(settings: dict[str, Any], tmp_path: Path) -> None:
    """It renames them, and would call one that is missing an error."""
    log = tmp_path / "log" / "a.log"
    log.write_bytes(b"x" * 700_000)
    log.with_name("a.log.1").write_bytes(b"x" * 700_000)
    watch, _ = watching(settings)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        watch.look(0.0)
    assert log.with_name("a.log.1").exists() and log.stat().st_size == logs_bound.TAIL and not asked(watch)


def test_a_log_of_its_size_is_rotated_early_and_not_in_vain_again_and_again(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    log = tmp_path / "log" / "a.log"
    watch, _ = watching(settings)
    log.write_bytes(b"x" * FILE)
    watch.look(0.0)
    assert not asked(watch)
    log.write_bytes(b"x" * (FILE + 1))
    times = []
    for tenth in range(1, 600):  # a minute in which rotation is of no use
        watch.look(tenth / 10)
        times += [tenth / 10] * asked(watch)
    assert 3 <= len(times) <= 5 and times[1] - times[0] >= logs_watch.SOON_S
    log.write_bytes(b"")
    watch.look(60.0)
    log.write_bytes(b"x" * (FILE + 1))
    watch.look(60.0 + logs_watch.SOON_S)
    assert asked(watch)  # it was of use: no reason to wait longer


def test_a_flood_is_told_in_a_line_now_and_then(settings: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "log" / "a.log"
    watch, said = watching(settings)
    for tenth in range(201):
        log.write_bytes(b"x" * 1_200_000)
        watch.look(tenth / 10)
    assert len(said) == 3 and "a.log was cut by" in said[1]
    gone = int((tmp_path / "dsdeploy_logs_watch.prom").read_text().split()[-1])
    assert gone == 201 * (1_200_000 - logs_bound.TAIL)


def test_what_cannot_be_cut_is_told_once(settings: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "log" / "a.log"
    log.write_bytes(b"x" * 1_200_000)
    os.link(log, tmp_path / "second")
    watch, said = watching(settings)
    for tenth in range(100):
        watch.look(tenth / 10)
    assert len(said) == 1 and "a.log could not be cut: not a plain file with one name" in said[0]


def test_a_writer_that_does_not_append_is_not_taken_for_one_that_fills_the_disk(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """Its log begins with a hole after each rotation: cutting it would take away what little is in it."""
    log = tmp_path / "log" / "a.log"
    watch, said = watching(settings)
    with log.open("wb") as stream:
        stream.seek(5_000_000)
        stream.write(b"x" * 8192)
        stream.flush()
        if logs_bound.taken(log.stat()) > 100_000:
            pytest.skip("no holes in files here")
        watch.look(0.0)
    assert log.stat().st_size == 5_008_192 and not said and not asked(watch)


def test_thousands_of_logs_do_not_cost_a_processor() -> None:
    assert logs_watch.pause(0.0003) == logs_watch.LOOK_S
    assert logs_watch.pause(0.1) == pytest.approx(2.0)


def test_the_program_itself_holds_the_total_against_a_fast_writer(settings: dict[str, Any], tmp_path: Path) -> None:
    """Started as the unit starts it; between two looks a writer can be over the total by what it writes in them."""
    (tmp_path / "logs.json").write_text(json.dumps(settings))
    program = f"import sys; sys.path.insert(0, {str(FILES)!r}); import logs_watch; from pathlib import Path; " \
              f"logs_watch.main(Path({str(tmp_path / 'logs.json')!r}))"  # fmt: skip
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        for number in range(40):
            with (tmp_path / "log" / f"{number % 2}.log").open("ab") as stream:
                stream.write(b"x" * 100_000)
            time.sleep(0.05)
        deadline = time.monotonic() + 20
        while used(tmp_path / "log") > TOTAL:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.05)
        assert child.poll() is None
        assert "dsdeploy_logs_gone_bytes_total" in (tmp_path / "dsdeploy_logs_watch.prom").read_text()
    finally:
        child.kill()
        child.wait()
