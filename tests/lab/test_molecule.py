"""Each role's molecule scenario: converge, idempotence, verify, all on one lab of molecule's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, why_not

pytestmark = pytest.mark.lab

SCENARIOS = sorted(path.parent.name for path in (ROOT / "tests" / "molecule").glob("*/molecule.yml"))
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The lab is kept between scenarios, and taken away after the last one."""
    reason = why_not()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")
    yield os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "DSDEPLOY_MOLECULE_KEEP": "1", "ANSIBLE_NOCOLOR": "1"}
    site = str(ROOT / "tests" / "molecule" / "site.yml")
    subprocess.run([str(BIN / "dsdeploy"), "lab", "down", "--site", site], cwd=ROOT, check=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_role_converges_stays_and_does_what_it_says(
    scenario: str, environment: dict[str, str], tmp_path: Path
) -> None:
    # molecule remembers what it created by the folder's name alone: another checkout's memory is not ours
    environment = environment | {"MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path)}
    argv = [str(BIN / "molecule"), "test", "--scenario-name", scenario]
    done = subprocess.run(
        argv, cwd=ROOT / "tests", env=environment, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-4000:]
