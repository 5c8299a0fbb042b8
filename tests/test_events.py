"""What Ansible reports, read into an outcome."""

from __future__ import annotations

import io
import json
from pathlib import Path

from dsdeploy import events


def result(status: str, host: str = "gpu1", **more: object) -> dict[str, object]:
    return {"event": "result", "status": status, "host": host, "role": "weights", "task": "pull | Pull", **more}


def test_a_line_that_is_still_being_written_waits_for_its_end() -> None:
    lines = io.StringIO()
    reader = events.Reader(lines)
    text = json.dumps(result("ok")) + "\n"
    lines.write(text[:20])
    lines.seek(0)
    assert list(reader.new()) == []
    lines.write(text[20:])
    lines.seek(20)
    assert [event["status"] for event in reader.new()] == ["ok"]


def test_an_outcome_counts_and_keeps_what_failed() -> None:
    seen = [
        {"event": "task", "task": "x"},
        result("ok"),
        result("changed"),
        result("failed", message="no"),
        result("ok", notice="skipped: read-only"),
    ]
    outcome = events.outcome(seen)
    assert (outcome.ok, outcome.changed, len(outcome.failed)) == (2, 1, 1)
    assert outcome.notices == ("gpu1: skipped: read-only",)


def test_the_first_failure_of_each_host_is_reported_with_its_own_hint() -> None:
    failed = [
        result("failed", message="shard 2 differs\nwanted a, got b\ntry: dsdeploy verify SITE"),
        result("failed", message="a consequence"),
        result("failed", host="gpu2", message="disk full"),
    ]
    first, second = events.problems(failed, "weights", Path("w.log"))
    assert first.what == "gpu1: shard 2 differs\nwanted a, got b"
    assert first.hint == "dsdeploy verify SITE"
    assert "host gpu1, weights: pull | Pull" in first.where
    assert second.what == "gpu2: disk full" and "same command again" in second.hint


def test_an_unreachable_host_is_named_as_such() -> None:
    problem = events.problem(result("unreachable", message="timed out"), "prep", Path("p.log"))
    assert problem.what == "host gpu1 cannot be reached: timed out"


def test_ansible_that_ends_badly_without_a_failed_task_shows_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "prep.log"
    log.write_text("ERROR! the role 'nope' was not found\n")
    assert "the role 'nope' was not found" in events.unexplained("prep", 1, log).what
