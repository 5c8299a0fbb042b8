"""The image's recipe, the mirror's files, the kernel's settings."""

from __future__ import annotations

import ast
import io
import json
import tarfile
from pathlib import Path

import pytest

from dsdeploy.errors import LabError
from dsdeploy.lab import image, kernel, mirror, recipe

LAB = Path(mirror.__file__).parent


def test_the_overlay_is_roots_and_bares_no_shared_kernel_setting() -> None:
    with tarfile.open(fileobj=io.BytesIO(recipe.overlay())) as tar:
        entries = {entry.name: entry for entry in tar.getmembers()}
    assert {entry.uid for entry in entries.values()} == {0}
    assert entries["etc/systemd/system/systemd-udevd.service"].linkname == "/dev/null"
    assert entries["etc/sysctl.d/50-pid-max.conf"].linkname == "/dev/null"
    assert entries["etc/systemd/system/ssh.service.d/10-lab.conf"].mode == 0o644


def test_a_recipe_that_changes_changes_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.host_tag(), recipe.mirror_tag("base")
    assert (recipe.host_tag(), recipe.mirror_tag("base")) == before
    assert recipe.mirror_tag("other") != before[1]
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "less"))
    assert recipe.host_tag() != before[0] and recipe.mirror_tag("base") != before[1]


def test_the_image_is_built_without_keys_or_machine_id() -> None:
    argv = recipe.bootstrap("/t/root.tar", "/t/overlay.tar")
    assert argv[0] == "mmdebstrap" and argv[-2:] == ["bookworm", "/t/root.tar"]
    hooks = " ".join(word for word in argv if "hook" in word)
    assert "ssh_host_" in hooks and "machine-id" in hooks and "/t/overlay.tar" in hooks


@pytest.mark.parametrize(
    ("log", "what", "hint"),
    [
        ("I: x\nErr:1 http://x bookworm\n  Could not resolve 'x'\nE: gone\n", "Err:1 http://x bookworm", "http_proxy"),
        ("I: x\nE: setting up the root failed\nI: cleanup\n", "E: setting up the root failed", "--image"),
        ("", "no output", "--image"),
    ],
)
def test_the_first_complaint_of_a_build_is_its_cause(log: str, what: str, hint: str) -> None:
    error = image.build_failure(log)
    assert what in error.what and hint in error.hint


def test_a_host_may_have_an_image_of_its_own_beside_the_one_of_all_others() -> None:
    assert image.chosen((), ("gpu1", "gpu2")) == {}
    words = ("registry.example:5000/base@sha256:ab", "gpu2=localhost/other:9")
    named = {"": "registry.example:5000/base@sha256:ab", "gpu2": "localhost/other:9"}
    assert image.chosen(words, ("gpu1", "gpu2")) == named


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("gpu3=x",), "no image for a host"),
        (("gpu1=",), "no image for a host"),
        (("=x",), "no image for a host"),
        (("x", "y"), "two images for all machines"),
        (("gpu1=x", "gpu1=y"), "two images for gpu1"),
    ],
)
def test_an_image_for_nobody_or_twice_is_refused(words: tuple[str, ...], what: str) -> None:
    with pytest.raises(LabError, match=what):
        image.chosen(words, ("gpu1", "gpu2"))


def test_the_mirror_repairs_what_differs_and_removes_what_is_too_much(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "a").write_bytes(b"aaaa")
    (source / "b").write_bytes(b"bbbb")
    assert {path.name for path in mirror.copy(source, target)} == {"a", "b"}
    assert mirror.copy(source, target) == []
    (target / "b").write_bytes(b"bbXb")  # same size, as a flipped byte is
    (target / "c").symlink_to("/etc/passwd")
    assert {path.name for path in mirror.copy(source, target)} == {"b", "c"}
    assert (target / "b").read_bytes() == b"bbbb" and not (target / "c").is_symlink()
    assert {path.name for path in target.iterdir()} == {"a", "b"}
    assert (target / "a").stat().st_mode & 0o777 == 0o644  # nginx is another user


def test_the_cache_knows_every_program_of_the_generator() -> None:
    """A module that the generator gains must change the cache's key."""
    known, unread = set(), ["model"]
    while unread:
        name = unread.pop()
        known.add(name)
        for node in ast.walk(ast.parse((LAB / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [alias.name for alias in node.names] if node.module == "dsdeploy.lab" else []
                if node.module.startswith("dsdeploy.lab."):
                    names = [node.module.split(".")[2]]
                unread += [found for found in names if found not in known]
    assert known == set(mirror.GENERATOR)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A kernel with two settings and a count of inotify instances."""
    thp = tmp_path / "sys/kernel/mm/transparent_hugepage"
    thp.mkdir(parents=True)
    (thp / "enabled").write_text("always [madvise] never\n")
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/sys/vm/swappiness").write_text("60\n")
    (tmp_path / "proc/sys/fs/inotify").mkdir(parents=True)
    (tmp_path / "proc/sys/fs/inotify/max_user_instances").write_text("128\n")
    return tmp_path


def test_kernel_settings_are_put_back_as_they_were_before_the_first_lab(root: Path, tmp_path: Path) -> None:
    note, enabled = tmp_path / "note.json", root / "sys/kernel/mm/transparent_hugepage/enabled"
    assert kernel.remember(note, root)
    enabled.write_text("always madvise [never]\n")
    assert kernel.remember(note, root)  # a second lab does not take the first one's settings for the original
    kernel.widen(root)
    instances = root / "proc/sys/fs/inotify/max_user_instances"
    assert instances.read_text() == "1024"
    assert json.loads(note.read_text())[str(enabled)] == "madvise"
    done = kernel.put_back(note)
    assert f"{enabled}: never -> madvise" in done and len(done) == 2
    assert enabled.read_text() == "madvise" and instances.read_text() == "128" and not note.exists()


def test_settings_of_a_roomy_kernel_stay(root: Path) -> None:
    instances = root / "proc/sys/fs/inotify/max_user_instances"
    instances.write_text("65536\n")
    kernel.widen(root)
    assert instances.read_text() == "65536\n"


def test_without_a_note_nothing_is_put_back(root: Path, tmp_path: Path) -> None:
    assert kernel.put_back(tmp_path / "absent.json") == []
    assert not kernel.remember(tmp_path / "absent" / "note.json", root)
