"""The wheelhouse, with a pip that writes files instead of downloading them."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dsdeploy import wheelhouse
from dsdeploy.errors import DsdeployError

WHEELS = ("alpha-1.0-py3-none-any.whl", "be_ta-2.0-cp311-cp311-manylinux_2_28_x86_64.whl")
Pip = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "toy" / "requirements.txt"
    path.parent.mkdir()
    path.write_text("# why\nalpha==1.0\nbe-ta==2.0  # another\n")
    return path


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands pip was called with; each call 'downloads' both wheels."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        for name in WHEELS:
            (Path(command[command.index("--dest") + 1]) / name).write_bytes(name.encode())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", run)
    return calls


def failing(stderr: str) -> Pip:
    return lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr)


def test_a_wheelhouse_is_made_once_and_reused_without_pip(requirements: Path, pip: list[list[str]]) -> None:
    first = wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    assert wheelhouse.ensure(requirements, "3.11", glibc="2.36") == first
    assert len(pip) == 1
    with tarfile.open(first / "wheelhouse.tar") as archive:
        assert sorted(archive.getnames()) == sorted(["SHA256SUMS", *WHEELS])


def test_the_archives_own_list_names_wheels_only(requirements: Path, pip: list[list[str]]) -> None:
    made = wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    with tarfile.open(made / "wheelhouse.tar") as archive:
        member = archive.extractfile("SHA256SUMS")
        assert member is not None
        names = [line.split()[1] for line in member.read().decode().splitlines()]
    assert names == sorted(WHEELS)


@pytest.mark.parametrize("name", [*WHEELS, "wheelhouse.tar"])
def test_a_touched_wheel_is_not_trusted(requirements: Path, pip: list[list[str]], name: str) -> None:
    made = wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    (made / name).write_bytes(b"something else")
    wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    assert len(pip) == 2


def test_a_killed_download_leaves_nothing_that_looks_whole(requirements: Path, pip: list[list[str]]) -> None:
    made = wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    made.rename(made.with_name(made.name + ".partial"))
    assert wheelhouse.ensure(requirements, "3.11", glibc="2.36") == made
    assert len(pip) == 2


def test_another_python_is_another_wheelhouse(requirements: Path, pip: list[list[str]]) -> None:
    assert wheelhouse.ensure(requirements, "3.11") != wheelhouse.ensure(requirements, "3.12")


def test_no_index_is_one_error_with_a_command_to_run_elsewhere(
    requirements: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        subprocess, "run", failing("WARNING: x\nERROR: No matching distribution found for alpha==1.0\n")
    )
    with pytest.raises(DsdeployError) as raised:
        wheelhouse.ensure(requirements, "3.11", glibc="2.36")
    assert "No matching distribution found for alpha==1.0" in raised.value.what
    assert "python3 -m pip download" in raised.value.hint and "--dest wheels" in raised.value.hint


def test_a_given_folder_is_the_only_source_and_its_gaps_are_named(
    requirements: Path, pip: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / WHEELS[0]).write_bytes(b"x")
    command = wheelhouse.download_command(requirements, tmp_path, "3.11", "x86_64", "2.36", given)
    assert command[command.index("--no-index") + 1 :][:2] == ["--find-links", str(given)]
    monkeypatch.setattr(subprocess, "run", failing("ERROR: nothing\n"))
    with pytest.raises(DsdeployError) as raised:
        wheelhouse.ensure(requirements, "3.11", glibc="2.36", given=given)
    assert raised.value.what == "the wheelhouse lacks be-ta==2.0" and raised.value.where == str(given)
    assert "--no-index" not in raised.value.hint


def test_wheels_for_a_newer_c_library_than_the_hosts_are_left_out() -> None:
    tags = wheelhouse.platforms("x86_64", "2.28")
    assert tags[0] == "manylinux_2_28_x86_64" and "manylinux2014_x86_64" in tags
    assert "manylinux_2_34_x86_64" not in tags
    assert "manylinux_2_34_aarch64" in wheelhouse.platforms("aarch64", "2.36")
