"""Accounts, folders and files: made, corrected whole, and never in place of something else."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "host"
OWNER, GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
ACCOUNT = {"name": "nobody-of-that-name", "comment": "A test", "home": "/var/lib/test"}


def load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROLE / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


accounts = load("ansible.module_utils.dsdeploy_accounts", "module_utils/dsdeploy_accounts.py")
places = load("ansible.module_utils.dsdeploy_places", "module_utils/dsdeploy_places.py")
layout = load("layout", "library/layout.py")


class Module:
    """What the layout asks of Ansible: programs that are run are only noted."""

    def __init__(self, check_mode: bool = False, error: str = "") -> None:
        self.check_mode = check_mode
        self.error = error
        self.ran: list[list[str]] = []

    def get_bin_path(self, name: str, required: bool) -> str:
        return f"/usr/sbin/{name}"

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        self.ran.append(command)
        return (9 if self.error else 0), "", self.error

    def set_default_selinux_context(self, path: str, changed: bool) -> bool:
        return changed

    def fail_json(self, msg: str) -> None:
        raise RuntimeError(msg)


def folder(path: Path, mode: str = "0755") -> dict[str, str]:
    return {"path": str(path), "owner": OWNER, "group": GROUP, "mode": mode}


def file(path: Path, content: str, mode: str = "0644") -> dict[str, str]:
    return {**folder(path, mode), "content": content}


def ensure(entry: dict[str, str], check: bool = False) -> Any:
    return layout.ensure_place(Module(check), entry)


def test_a_missing_folder_is_made_and_then_is_as_wanted(tmp_path: Path) -> None:
    entry = folder(tmp_path / "a" / "b", "0700")
    assert places.current(entry) is None
    places.settle(entry)
    assert places.current(entry) == places.wanted(entry, check=False) == f"0700 {OWNER}:{GROUP}\n"


def test_a_mode_is_corrected_whatever_the_umask(tmp_path: Path) -> None:
    entry = folder(tmp_path / "a")
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / "kept").touch()
    places.settle(entry)
    assert places.current(entry) == f"0755 {OWNER}:{GROUP}\n"
    assert (tmp_path / "a" / "kept").exists()


def test_folders_above_it_are_for_everybody_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        ensure({**folder(tmp_path / "a" / "b" / "c", "0700"), "path": f"{tmp_path}/a/b/c/"})
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "a", tmp_path / "a" / "b")] == ["0o755"] * 2


@pytest.mark.parametrize("kind", ["a symbolic link", "a file"])
def test_something_else_in_a_folders_place_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.touch() if kind == "a file" else path.symlink_to(tmp_path)
    with pytest.raises(places.Refused, match=f"is {kind}, not a folder; move it away"):
        places.current(folder(path))


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(places.Refused, match="is a folder, not a file"):
        places.current(file(tmp_path / "a", "x"))


def test_an_unknown_owner_is_refused_except_where_nothing_is_made(tmp_path: Path) -> None:
    entry = {**folder(tmp_path / "a"), "owner": "nobody-of-that-name"}
    with pytest.raises(places.Refused, match="no such account"):
        places.wanted(entry, check=False)
    assert places.wanted(entry, check=True).startswith("0755 nobody-of-that-name")


def test_a_mode_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(places.Refused, match="not an octal mode: u=rwx"):
        places.wanted(folder(tmp_path, "u=rwx"), check=False)


def test_a_file_is_made_and_a_second_look_finds_nothing_to_do(tmp_path: Path) -> None:
    entry = file(tmp_path / "a", "tick = 1 µs\r\nlast line without end", "0640")
    assert ensure(entry)[0]["before"] == "absent\n"
    assert (tmp_path / "a").read_bytes() == entry["content"].encode()
    assert ensure(entry) == []


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    ensure(file(tmp_path / "a", ""))
    assert (tmp_path / "a").is_file() and ensure(file(tmp_path / "a", "")) == []


def test_a_drifted_content_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("drifted")
    before = path.stat().st_ino
    ensure(file(path, "declared\n"))
    assert path.read_text() == "declared\n" and path.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_drifted_mode_is_corrected_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("declared\n")
    path.chmod(0o666)
    (shown,) = ensure(file(path, "declared\n"))
    assert shown["before"] == f"0666 {OWNER}:{GROUP}\ndeclared\n" and shown["after_header"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o644


def test_bytes_that_are_no_text_are_a_difference_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    assert ensure(file(tmp_path / "a", "declared\n"))
    assert (tmp_path / "a").read_text() == "declared\n"


def test_a_link_in_a_files_place_is_replaced_and_what_it_names_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    (shown,) = ensure(file(tmp_path / "a", "ours"))
    assert shown["before"] == f"a symbolic link to {tmp_path / 'theirs'}\n"
    assert not (tmp_path / "a").is_symlink() and (tmp_path / "theirs").read_text() == "theirs"


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(places.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ensure(file(path, "new"))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_check_mode_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    for entry in (folder(tmp_path / "a"), file(tmp_path / "b" / "c", "x")):
        assert [shown["before"] for shown in ensure(entry, check=True)] == ["absent\n"]
    assert list(tmp_path.iterdir()) == []


def test_a_new_account_cannot_log_in_and_has_a_group_of_its_name() -> None:
    module = Module()
    (shown,) = layout.ensure_account(module, ACCOUNT)
    assert module.ran[0] == ["/usr/sbin/groupadd", "--system", "nobody-of-that-name"]
    command = " ".join(module.ran[1])
    assert command == (
        "/usr/sbin/useradd --system --no-create-home --gid nobody-of-that-name --comment A test"
        " --home /var/lib/test --shell /usr/sbin/nologin nobody-of-that-name"
    )
    assert shown["before"] == "absent\n" and shown["after"]["shell"] == "/usr/sbin/nologin"


def test_a_drifted_account_is_changed_only_where_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    was = {**accounts.wanted(ACCOUNT), "shell": "/bin/bash"}
    monkeypatch.setattr(accounts, "current", lambda name: was)
    monkeypatch.setattr(accounts, "_has_group", lambda name: True)
    assert accounts.steps(ACCOUNT) == [["usermod", "--shell", "/usr/sbin/nologin", "nobody-of-that-name"]]
    monkeypatch.setattr(accounts, "current", lambda name: accounts.wanted(ACCOUNT))
    assert layout.ensure_account(Module(), ACCOUNT) == []


def test_an_account_is_read_as_it_is() -> None:
    user = pwd.getpwuid(os.getuid())
    found = accounts.current(user.pw_name)
    assert found and (found["home"], found["shell"]) == (user.pw_dir, user.pw_shell)
    assert accounts.current("nobody-of-that-name") is None


def test_check_mode_makes_no_account() -> None:
    module = Module(check_mode=True)
    assert layout.ensure_account(module, ACCOUNT) and module.ran == []


def test_a_refused_account_says_which_command_and_why() -> None:
    with pytest.raises(RuntimeError, match="groupadd --system nobody-of-that-name: cannot lock /etc/group"):
        layout.ensure_account(Module(error="cannot lock /etc/group\n"), ACCOUNT)


def link(path: Path, target: str) -> dict[str, str]:
    return {"path": str(path), "target": target}


def test_a_link_is_made_moved_to_another_target_and_left_alone_after_that(tmp_path: Path) -> None:
    path = tmp_path / "python3"
    assert ensure(link(path, "/usr/bin/python3"), check=True) and not path.is_symlink()
    assert ensure(link(path, "/usr/bin/python3"))[0]["before"] == "absent\n"
    (shown,) = ensure(link(path, "/usr/bin/python3.12"))
    assert shown["before"] == "a symbolic link to /usr/bin/python3\n" and str(path.readlink()) == "/usr/bin/python3.12"
    assert ensure(link(path, "/usr/bin/python3.12")) == [] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["a folder", "a file"])
def test_something_else_in_a_links_place_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.touch() if kind == "a file" else path.mkdir()
    with pytest.raises(places.Refused, match=f"is {kind}, not a symbolic link; move it away"):
        ensure(link(path, "/usr/bin/python3"))
