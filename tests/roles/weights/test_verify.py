"""Verification finds what changed, remembers it, and the next pull mends exactly that."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dsdeploy_weights import build, stamp
from dsdeploy_weights.layout import Layout
from dsdeploy_weights.verify import Verify

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Run = Callable[..., dict[str, Any]]


def rot(layout: Layout, name: str) -> None:
    """Change a byte and make the stamp believe the file was never touched, as a dying disk does."""
    path = layout.live / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    known = stamp.load(layout.stamp)
    assert known is not None
    seen = path.stat()
    same = {"mtime_ns": seen.st_mtime_ns, "ctime_ns": seen.st_ctime_ns, "inode": seen.st_ino, "device": seen.st_dev}
    records = [stamp.Record(**{**vars(r), **(same if r.path == name else {})}) for r in known.records]
    stamp.save(layout.stamp, known.with_records(records))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_all_good(pull: Run, layout: Layout) -> None:
    pulled = pull()
    result = Verify(layout).run()
    assert (result["ok"], result["read"], result["problems"]) == (True, 0, [])
    assert result["digest"] == pulled["digest"]
    assert Verify(layout, deep=True).run()["read"] == 5


def test_a_flipped_byte_is_found_with_wanted_and_got(pull: Run, layout: Layout, files: dict[str, bytes]) -> None:
    pull()
    flip(layout.live / TWO)
    result = Verify(layout).run()
    [problem] = result["problems"]
    assert not result["ok"] and result["read"] == 1 and problem["path"] == TWO
    assert problem["wanted"] == hashlib.md5(files[TWO]).hexdigest()
    assert problem["got"] == hashlib.md5((layout.live / TWO).read_bytes()).hexdigest()
    assert json.loads(layout.stamp.read_text())["bad"] == [TWO]
    assert Verify(layout).run()["problems"] == [problem]
    assert pull()["fetched"] == [TWO] and Verify(layout, deep=True).run()["ok"]


def test_rot_that_no_stat_shows_is_found_by_deep_and_mended_after(pull: Run, layout: Layout) -> None:
    pull()
    rot(layout, TWO)
    assert Verify(layout).run()["ok"]
    assert not Verify(layout, deep=True).run()["ok"]
    result = pull()
    assert (result["state"], result["fetched"]) == ("repaired", [TWO])


def test_one_file_can_be_named(pull: Run, layout: Layout) -> None:
    pull()
    rot(layout, TWO)
    assert Verify(layout, only=frozenset([ONE])).run()["read"] == 1
    assert Verify(layout, only=frozenset([TWO])).run()["problems"][0]["path"] == TWO


def test_a_touched_good_file_is_trusted_again(pull: Run, layout: Layout) -> None:
    pull()
    os.utime(layout.live / ONE)
    assert Verify(layout, quick=True).run()["problems"][0]["kind"] == "touched"
    assert Verify(layout).run()["ok"]
    assert Verify(layout, quick=True).run()["ok"]


def test_missing_and_extra(pull: Run, layout: Layout) -> None:
    pull()
    (layout.live / ONE).unlink()
    (layout.live / "modeling.py").write_text("import os\n")
    problems = Verify(layout).run()["problems"]
    assert [(p["path"], p["kind"]) for p in problems] == [(ONE, "missing"), ("modeling.py", "extra")]


@pytest.mark.parametrize("quick", [True, False])
def test_never_pulled(layout: Layout, quick: bool, tmp_path: Path) -> None:
    result = Verify(layout, quick=quick).run()
    assert not result["ok"] and result["problems"][0]["kind"] == "unverified"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def built(tmp_path: Path) -> Path:
    directory = tmp_path / "builds" / "k1"
    directory.mkdir(parents=True)
    (directory / "model.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    digest = hashlib.sha256((directory / "model.gguf").read_bytes()).hexdigest()
    document = {"key": "k1", "files": [{"path": "model.gguf", "size": 104, "sha256": digest}]}
    (directory / "build.json").write_text(json.dumps(document))
    return directory


def test_a_build_is_read_once_and_then_remembered(built: Path, tmp_path: Path) -> None:
    reads = [build.verify_all(built.parent, tmp_path / "state", deep=False)[0]["read"] for _ in range(2)]
    assert reads == [1, 0]
    assert build.verify_all(built.parent, tmp_path / "state", deep=True)[0]["read"] == 1


def test_a_build_that_a_repair_put_aside_is_not_looked_at_again(built: Path, tmp_path: Path) -> None:
    flip(built / "model.gguf")
    shutil.copytree(built, built.with_name("k1.damaged-1"))
    flip(built / "model.gguf")
    [result] = build.verify_all(built.parent, tmp_path / "state", deep=True)
    assert result["build"] == "k1" and result["ok"]


def test_a_damaged_build_is_found_every_time(built: Path, tmp_path: Path) -> None:
    build.verify_all(built.parent, tmp_path / "state", deep=False)
    flip(built / "model.gguf")
    for _ in range(2):
        [result] = build.verify_all(built.parent, tmp_path / "state", deep=False)
        assert [(p["path"], p["kind"]) for p in result["problems"]] == [("model.gguf", "sha256")]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"files": [1]}', '{"files": [{"path": "../x", "size": 1, "sha256": "a"}]}',
     '{"files": [{"path": "x", "size": "1", "sha256": "a"}]}'],
)  # fmt: skip
def test_a_senseless_build_json_is_a_finding(built: Path, tmp_path: Path, text: str) -> None:
    (built / "build.json").write_text(text)
    [result] = build.verify_all(built.parent, tmp_path / "state", deep=False)
    assert not result["ok"] and result["problems"][0]["path"] == "build.json"


def test_a_missing_build_file_and_unfinished_builds(built: Path, tmp_path: Path) -> None:
    (built / "model.gguf").unlink()
    (built.parent / "k2.partial").mkdir()
    [result] = build.verify_all(built.parent, tmp_path / "state", deep=False)
    assert result["problems"][0]["kind"] == "missing"
    assert build.verify_all(tmp_path / "none", tmp_path / "state", deep=False) == []
