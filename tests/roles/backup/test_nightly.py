"""A seventh of weights and builds each night: all within a week, and what is bad stays told until it is mended."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from backup_machine import Machine


@pytest.fixture
def weights(machine: Machine) -> Path:
    """Ten files of a model, with the stamp of their arrival; the folder they are in."""
    root, stamps = machine.live("weights"), machine.live("stamps")
    folder = root / "m" / "v1"
    for made in (folder, stamps / "m", machine.live("builds")):
        made.mkdir(parents=True)
    files = []
    for number in range(10):
        content = bytes([number]) * (number + 1)
        (folder / f"{number}.bin").write_bytes(content)
        files.append({"path": f"{number}.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    (stamps / "m" / "v1.json").write_text(json.dumps({"files": files}))
    places = {"weights": str(root), "stamps": str(stamps), "builds": str(machine.live("builds"))}
    machine.settings(extra=places)
    return folder


def metrics(machine: Machine) -> dict[str, float]:
    text = (machine.root / "metrics" / "dsdeploy_verify.prom").read_text()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("dsdeploy_verify_"): float(value) for name, value in lines}


def test_all_is_read_in_seven_nights(machine: Machine, weights: Path) -> None:
    read = 0.0
    for night in range(7):
        machine.good("nightly")
        assert metrics(machine)["slice"] == night
        read += metrics(machine)["read_bytes"]
    assert read == sum(path.stat().st_size for path in weights.iterdir())


def test_a_damaged_file_is_found_once_a_week_and_told_every_night_until_mended(machine: Machine, weights: Path) -> None:
    victim = weights / "9.bin"
    whole = victim.read_bytes()
    victim.write_bytes(b"x" + whole[1:])
    codes = [machine.call("nightly")[0] for _ in range(7)]
    found = codes.index(1)
    assert codes == [0] * found + [1] * (7 - found)
    assert metrics(machine)["bad_files"] == 1 and metrics(machine)["last_run_success"] == 0
    victim.write_bytes(whole)
    machine.good("nightly")
    assert metrics(machine)["bad_files"] == 0


def test_a_stamp_that_says_nothing_is_a_finding(machine: Machine, weights: Path) -> None:
    (machine.live("stamps") / "m" / "v1.json").write_text('{"files": [{}]}')
    assert 1 in [machine.call("nightly")[0] for _ in range(7)]
