"""What lies on the host decides what is done: nothing, one file, or all; and what is never done."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoint import md5sums, shard
from dsdeploy_weights import room, survey
from dsdeploy_weights.address import from_address
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.layout import Layout
from dsdeploy_weights.limits import Limits
from dsdeploy_weights.pull import Pull
from dsdeploy_weights.source import DirectorySource
from hostile_server import HostileServer, cuts_after, flips_a_byte, status

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Run = Callable[..., dict[str, Any]]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def tree(*roots: Path) -> dict[str, tuple[int, int]]:
    """Everything below but the lock, with what changes when it is written or replaced."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for root in roots for path in root.rglob("*") if path.suffix != ".lock"
    }  # fmt: skip


def test_a_second_pull_reads_no_file_and_writes_nothing(
    pull: Run, server: HostileServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull()
    before = tree(layout.weights, layout.state)
    server.seen.clear()
    monkeypatch.setattr(survey, "feed", None)  # whoever reads a file now, fails
    assert pull()["state"] == "unchanged"
    assert {path for _, path, _ in server.seen} == {"MD5SUMS", "SHA256SUMS", "manifest.json"}
    assert tree(layout.weights, layout.state) == before


def test_modes_are_what_the_readme_argues(pull: Run, layout: Layout) -> None:
    old = os.umask(0o077)
    try:
        pull()
    finally:
        os.umask(old)
    for path in [layout.weights, layout.state, *layout.weights.rglob("*"), *layout.state.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_damaged_file_is_replaced_alone(pull: Run, server: HostileServer, layout: Layout) -> None:
    first = pull()
    flip(layout.live / TWO)
    untouched = (layout.live / ONE).stat().st_ino
    directory = layout.live.stat().st_ino
    server.seen.clear()
    result = pull()
    assert (result["state"], result["fetched"], result["digest"]) == ("repaired", [TWO], first["digest"])
    assert server.gets(ONE) == [] and len(server.gets(TWO)) == 1
    assert (layout.live / ONE).stat().st_ino == untouched and layout.live.stat().st_ino == directory
    assert (layout.live / TWO).read_bytes() == server.files[TWO] and not layout.staging.exists()
    assert pull()["state"] == "unchanged"


def test_damage_with_the_old_mtime_is_seen_by_ctime(pull: Run, layout: Layout) -> None:
    pull()
    path = layout.live / TWO
    seen = path.stat()
    flip(path)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert pull()["fetched"] == [TWO]


def test_a_removed_file_comes_back_alone(pull: Run, layout: Layout) -> None:
    pull()
    (layout.live / "config.json").unlink()
    assert pull()["fetched"] == ["config.json"]


def test_a_touched_file_is_read_and_the_stamp_renewed(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    os.utime(layout.live / ONE)
    result = pull()
    assert (result["state"], result["changed"], result["fetched"]) == ("reread", False, [])
    assert pull()["state"] == "unchanged"


def test_a_lost_stamp_costs_a_reading_not_a_download(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    layout.stamp.unlink()
    server.seen.clear()
    assert pull()["state"] == "adopted"
    assert server.gets(ONE) == [] and server.gets(TWO) == []


def test_a_damaged_stamp_is_not_believed(pull: Run, layout: Layout) -> None:
    pull()
    document = json.loads(layout.stamp.read_text())
    document["files"][0]["sha256"] = "0" * 64
    layout.stamp.write_text(json.dumps(document))
    assert pull()["state"] == "adopted"


def test_a_failed_repair_leaves_the_version_in_place(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    flip(layout.live / TWO)
    damaged = (layout.live / TWO).read_bytes()
    server.always[TWO] = flips_a_byte
    with pytest.raises(Refused):
        pull()
    assert (layout.live / TWO).read_bytes() == damaged and (layout.live / ONE).exists()


def test_other_hashes_for_a_verified_version_are_refused(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    before = tree(layout.weights, layout.state)
    server.files[TWO] = shard({"head": 5000}, changed="yes")
    server.files["new.json"] = b"{}"
    del server.files["config.json"]
    server.files["MD5SUMS"] = md5sums(server.files)
    with pytest.raises(Refused, match="version v1 of tiny at the source is not what this host verified") as error:
        pull()
    assert {p.path for p in error.value.problems} == {TWO, "new.json", "config.json"}
    assert tree(layout.weights, layout.state) == before


def test_a_dead_source_does_not_matter_to_a_whole_copy(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    for name in ("MD5SUMS", "SHA256SUMS", "manifest.json"):
        server.files[name] = b"x"
        server.always[name] = status(503)
    result = pull()
    assert result["state"] == "unchanged" and "503" in result["notes"][0]
    flip(layout.live / TWO)
    with pytest.raises(Refused, match="503"):
        pull()


STRAYS: dict[str, Callable[[Path], None]] = {
    "extra": lambda path: path.write_bytes(b"x") and None,
    "symlink": lambda path: path.symlink_to("/etc/passwd"),
    "special": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", STRAYS)
def test_strays_are_refused_and_left(kind: str, pull: Run, layout: Layout) -> None:
    pull()
    STRAYS[kind](layout.live / "stray.json")
    with pytest.raises(Refused, match="no manifest lists") as error:
        pull()
    assert [(p.path, p.kind) for p in error.value.problems] == [("stray.json", kind)]
    assert (layout.live / "stray.json").is_symlink() or (layout.live / "stray.json").exists()


def test_a_symlink_in_place_of_a_shard_is_refused(pull: Run, layout: Layout, tmp_path: Path) -> None:
    pull()
    (layout.live / ONE).rename(tmp_path / "elsewhere")
    (layout.live / ONE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused) as error:
        pull()
    assert [(p.path, p.kind) for p in error.value.problems] == [(ONE, "symlink")]


def test_links_planted_in_staging_are_not_followed(pull: Run, layout: Layout, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"precious")
    layout.make()
    layout.staging.mkdir()
    (layout.staging / "tokenizer").symlink_to(victim)
    (layout.staging / (ONE + ".part")).symlink_to(victim / "file")
    assert pull()["state"] == "pulled"
    assert {p.name: p.read_bytes() for p in victim.iterdir()} == {"file": b"precious"}


def test_hostile_names_write_nothing_anywhere(pull: Run, server: HostileServer, layout: Layout, tmp_path: Path) -> None:
    server.files["MD5SUMS"] += b"0" * 32 + b"  ../../../escaped\n"
    with pytest.raises(Refused, match="names that are refused"):
        pull()
    assert not layout.staging.exists() and not list(tmp_path.rglob("escaped"))
    assert server.gets(ONE) == []


def test_staging_of_another_manifest_is_tidied(pull: Run, server: HostileServer, layout: Layout) -> None:
    server.always[TWO] = flips_a_byte
    with pytest.raises(Refused):
        pull()
    (layout.staging / "old.bin").write_bytes(b"of an earlier manifest")
    server.always.clear()
    pull()
    assert not (layout.live / "old.bin").exists()


def test_a_kill_between_rename_and_stamp_costs_nothing(pull: Run, server: HostileServer, layout: Layout) -> None:
    pull()
    layout.stamp.rename(layout.journal)
    server.seen.clear()
    assert pull()["state"] == "adopted" and server.gets(ONE) == []
    assert layout.stamp.exists() and not layout.journal.exists()


def test_a_lying_part_is_found_out(pull: Run, server: HostileServer, layout: Layout) -> None:
    """A tail of zeros after a power cut: the header is right, the bytes are not."""
    layout.make()
    layout.staging.mkdir()
    (layout.staging / (ONE + ".part")).write_bytes(server.files[ONE][:400] + b"\0" * 2000)
    pull()
    assert (layout.live / ONE).read_bytes() == server.files[ONE]
    assert server.gets(ONE)[-1] == ""


def test_a_part_with_a_bad_header_is_not_even_hashed(pull: Run, server: HostileServer, layout: Layout) -> None:
    layout.make()
    layout.staging.mkdir()
    (layout.staging / (ONE + ".part")).write_bytes(b"<html>" + b" " * 2000)
    pull()
    assert server.gets(ONE) == [""]


def test_too_little_space_is_said_before_anything_moves(
    pull: Run, server: HostileServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def small(path: Any) -> os.statvfs_result:
        values = list(real(path))
        values[4] = 1  # f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(room.os, "statvfs", small)
    with pytest.raises(Refused, match=r"not enough space: needs \d") as error:
        pull()
    assert error.value.where == str(layout.staging) and server.gets(ONE) == []


def test_too_few_inodes(layout: Layout, pull: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def few(path: Any) -> os.statvfs_result:
        values = list(real(path))
        values[5], values[7] = 1000, 3  # f_files, f_favail
        return os.statvfs_result(values)

    monkeypatch.setattr(room.os, "statvfs", few)
    with pytest.raises(Refused, match="inodes"):
        pull()


def test_a_disk_that_fills_up_midway_keeps_what_came(
    pull: Run, server: HostileServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsdeploy_weights import part

    real, full = os.pwrite, 3000

    def small(fd: int, data: Any, at: int) -> int:
        if at + len(data) > full:
            raise OSError(28, "No space left on device")
        return real(fd, data, at)

    server.next[ONE] = [cuts_after(2500)]
    with monkeypatch.context() as patch:
        patch.setattr(part.os, "pwrite", small)
        with pytest.raises(Refused, match=r"disk is full at byte .* needs \d+ bytes more") as error:
            pull()
    assert "free 3" in error.value.hint and "KiB" in error.value.hint
    assert (layout.staging / "model.safetensors.index.json").exists()
    server.seen.clear()
    assert pull()["state"] == "pulled"
    assert server.gets("model.safetensors.index.json") == []


def test_check_writes_nothing_at_all(server: HostileServer, layout: Layout, limits: Limits, tmp_path: Path) -> None:
    pull = Pull(layout, from_address(server.url, 0.4), limits)
    result = pull.check()
    assert (result["state"], result["changed"], len(result["pending"])) == ("pending", True, 5)
    assert list(tmp_path.iterdir()) == []
    pull.run()
    before = tree(tmp_path)
    assert pull.check()["changed"] is False and tree(tmp_path) == before
    flip(layout.live / TWO)
    before = tree(tmp_path)
    assert pull.check()["pending"] == [TWO] and tree(tmp_path) == before


def test_a_directory_is_a_source_too(files: dict[str, bytes], layout: Layout, limits: Limits, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    for name, data in files.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(data)
    assert Pull(layout, from_address(str(origin), 1), limits).run()["state"] == "pulled"
    assert (layout.live / ONE).read_bytes() == files[ONE]


def test_links_in_a_source_directory_are_refused(
    files: dict[str, bytes], layout: Layout, limits: Limits, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    for name, data in files.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(data)
    (origin / "config.json").rename(tmp_path / "config.json")
    (origin / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(Refused, match=r"config\.json in the source cannot be read"):
        Pull(layout, DirectorySource(origin), limits).run()


@pytest.mark.parametrize("address", ["ftp://x/", "file:///etc/", "relative/", "-oProxyCommand=x", "", "/no/such/dir"])
def test_addresses_that_are_no_source(address: str) -> None:
    with pytest.raises(Refused):
        from_address(address, 1)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-rf", ".hidden", "v1.partial", "a b", "a\n", "x" * 200])
def test_model_and_version_are_plain_names(name: str, tmp_path: Path) -> None:
    for model, version in ((name, "v1"), ("tiny", name)):
        with pytest.raises(Refused):
            Layout(model, version, tmp_path, tmp_path)
