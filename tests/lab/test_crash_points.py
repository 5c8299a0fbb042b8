"""A sample of `make test-faults`: the controller is killed at a few crash points, under load, and all is finished.

DSDEPLOY_FAULTS_CASES says how many (2), DSDEPLOY_FAULTS_SEED which: the number that a failed run prints. Without it the
commit draws: another sample for every commit, and the same one when a commit is tested again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def commit_seed() -> int:
    """Out of git's name for this commit; 1 where there is no git."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout[:5], 16) if done.returncode == 0 else 1


def test_a_sample_of_the_crash_points_holds(lab: Lab, tmp_path: Path) -> None:
    lab.serving()
    seed = os.environ.get("DSDEPLOY_FAULTS_SEED") or str(commit_seed())
    number = os.environ.get("DSDEPLOY_FAULTS_CASES", "2")
    argv = [
        sys.executable, "-m", "tests.faults", "--site", str(lab.site), "--sample", number, "--seed", seed,
        "--results", str(tmp_path / "faults.jsonl"),
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    lab.up()
    assert done.returncode == 0, f"DSDEPLOY_FAULTS_SEED={seed}\n{done.stdout}\n{done.stderr[-6000:]}"
