"""The folders of runs on this computer: how many stay, and which always do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from dsdeploy import journal, runs, site

ROOT = Path(__file__).resolve().parent.parent


def made(folder: Path, **sections: object) -> site.Site:
    data = yaml.safe_load((ROOT / "inventory/lab/site.yml").read_text())
    (folder / "site.yml").write_text(yaml.safe_dump({**data, **sections}))
    return site.load(folder / "site.yml")


@pytest.mark.parametrize(("sections", "kept"), [({}, runs.KEPT), ({"logs": {}}, 50), ({"logs": {"runs": 7}}, 7)])
def test_the_site_file_says_how_many_runs_stay(sections: dict[str, object], kept: int, tmp_path: Path) -> None:
    given = made(tmp_path, **sections)
    root = tmp_path / ".dsdeploy/lab/runs"
    for number in range(60):
        (root / f"20200101T{number:06}-1-up").mkdir(parents=True)
    new = runs.new(given, "up")
    left = sorted(path.name for path in root.iterdir())
    assert len(left) == kept and left[-1] == new.id and left[0] == f"20200101T{61 - kept:06}-1-up"


def test_the_last_run_that_was_begun_and_has_not_ended_stays_however_old(tmp_path: Path) -> None:
    root = tmp_path / ".dsdeploy/lab/runs"
    for number in range(20):
        folder = root / f"20200101T{number:06}-1-upgrade"
        folder.mkdir(parents=True)
        kinds = ["begin", "step"] if number in (1, 3) else ["begin", "step", "end"]
        lines = [json.dumps({"kind": kind, "at": "2020-01-01T00:00:00Z"}) + "\n" for kind in kinds]
        (folder / journal.NAME).write_text("".join(lines))
    runs.new(made(tmp_path, logs={"runs": 5}), "backup")
    assert sorted(path.name for path in root.iterdir())[0] == "20200101T000003-1-upgrade"
    assert len(list(root.iterdir())) == 6
