"""A seventh of weights and builds each night: all within a week, and what is bad stays told until it is mended."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from backup_machine import Machine
from dsdeploy_backup import nightly


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


def test_what_a_repair_put_aside_and_what_is_being_made_is_not_read(machine: Machine, weights: Path) -> None:
    """A build that was damaged and made anew: the finding ends with the repair."""
    entry = {"path": "model.gguf", "size": 4, "sha256": hashlib.sha256(b"GGUF").hexdigest()}
    for name, content in (("k1", b"GGUF"), ("k1.damaged-1", b"GGUX"), ("k1.damaged-12", b""), ("k2.partial", b"G")):
        (machine.live("builds") / name).mkdir()
        (machine.live("builds") / name / "model.gguf").write_bytes(content)
        (machine.live("builds") / name / "build.json").write_text(json.dumps({"key": "k1", "files": [entry]}))
    found = [
        one.path.parent.name for one in nightly.expected(weights.parents[1], Path("/none"), machine.live("builds"))
    ]
    assert found == ["k1"]


def test_weights_that_somebody_removed_are_no_damage_and_a_disk_that_is_not_there_is(
    machine: Machine, weights: Path
) -> None:
    shutil.rmtree(weights)
    done = machine.good("nightly")
    assert f"{weights} was removed" in "".join(done["messages"]) and metrics(machine)["bad_files"] == 0
    shutil.rmtree(weights.parents[1])
    assert machine.call("nightly")[0] == 1 and metrics(machine)["bad_files"] > 0
