"""A sample of `make test-faults`: the controller is killed at a few crash points, under load, and all is finished.

DSDEPLOY_FAULTS_CASES says how many (2), DSDEPLOY_FAULTS_SEED which (1): another number,
another sample.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def test_a_sample_of_the_crash_points_holds(lab: Lab, tmp_path: Path) -> None:
    lab.serving()
    seed = os.environ.get("DSDEPLOY_FAULTS_SEED", "1")
    number = os.environ.get("DSDEPLOY_FAULTS_CASES", "2")
    argv = [
        sys.executable, "-m", "tests.faults", "--site", str(lab.site), "--sample", number, "--seed", seed,
        "--results", str(tmp_path / "faults.jsonl"),
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    lab.up()
    assert done.returncode == 0, f"DSDEPLOY_FAULTS_SEED={seed}\n{done.stdout}\n{done.stderr[-6000:]}"
