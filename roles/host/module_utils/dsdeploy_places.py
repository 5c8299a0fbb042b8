"""Folders, files and links, with owner and mode: what is there, and the step to what should be. Python >= 3.8.

A folder and a link never replace something else; a file is replaced whole or not at all: content, owner and mode in one
rename.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from typing import Callable, Dict, Optional

Entry = Dict[str, str]  # path, owner, group, mode; with a content it is a file. A link has path and target only


class Refused(Exception):
    """Something else is in the place of a folder, file or link, or its owner does not exist."""


def wanted(entry: Entry, check: bool) -> str:
    """``0755 root:root``, with the content of a file below it. Raises Refused for an unknown account or mode.

    In check mode an unknown account may yet be made.
    """
    if "target" in entry:
        return _linked(entry["target"])
    try:
        mode = int(entry["mode"], 8)
    except ValueError:
        raise Refused("%s: not an octal mode: %s" % (entry["path"], entry["mode"])) from None
    try:
        pwd.getpwnam(entry["owner"])
        grp.getgrnam(entry["group"])
    except KeyError as error:
        if not check:
            raise Refused("%s: no such account: %s" % (entry["path"], error)) from error
    return "%04o %s:%s\n%s" % (mode, entry["owner"], entry["group"], entry.get("content") or "")


def current(entry: Entry) -> Optional[str]:
    """The same text as it is, None when absent. Raises Refused when it cannot be made what it should be."""
    path, is_file, is_link = entry["path"], entry.get("content") is not None, "target" in entry
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if (is_file or is_link) and stat.S_ISLNK(found.st_mode):
        return _linked(os.readlink(path))
    if is_link:
        raise Refused("%s is %s, not a symbolic link; move it away and run again" % (path, _kind(found.st_mode)))
    if not (stat.S_ISREG if is_file else stat.S_ISDIR)(found.st_mode):
        raise Refused("%s is %s, not a %s; move it away and run again" % (path, _kind(found.st_mode), _noun(is_file)))
    owner, group = _account(pwd.getpwuid, found.st_uid), _account(grp.getgrgid, found.st_gid)
    return "%04o %s:%s\n%s" % (stat.S_IMODE(found.st_mode), owner, group, _text(path) if is_file else "")


def own(path: str, content: Optional[str] = None) -> Entry:
    """A folder (0755), or with a content a file (0644), of the one who runs this: of root, on hosts."""
    owner, group = _account(pwd.getpwuid, os.geteuid()), _account(grp.getgrgid, os.getegid())
    entry = {"path": path, "owner": owner, "group": group, "mode": "0755" if content is None else "0644"}
    return entry if content is None else {**entry, "content": content}


def settle(entry: Entry) -> None:
    """Make or correct the folder, the file or the link. Raises OSError."""
    if "target" in entry:
        _relink(entry["path"], entry["target"])
        return
    path, mode = entry["path"], int(entry["mode"], 8)
    owner, group = pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    if entry.get("content") is not None:
        _replace(path, entry["content"], owner, group, mode)
        return
    _make(os.path.normpath(path))
    os.chown(path, owner, group)
    os.chmod(path, mode)


def _make(path: str) -> None:
    """The folder and those missing above it; a host's umask may be one that shuts others out of those."""
    if not os.path.isdir(path):
        _make(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)


def _replace(path: str, content: str, owner: int, group: int, mode: int) -> None:
    """A draft beside the file, on disk before it takes the name: a crash leaves the old file or the new one."""
    descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix="." + os.path.basename(path) + ".")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content.encode("utf-8", "surrogateescape"))  # bytes that were read so come back as they were
            stream.flush()
            os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise


def _relink(path: str, target: str) -> None:
    """There is no moment without the link: programs are started through it."""
    draft = "%s.new.%d" % (path, os.getpid())
    os.symlink(target, draft)
    os.replace(draft, path)


def _linked(target: str) -> str:
    return "a symbolic link to %s\n" % target


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="backslashreplace", newline="") as stream:
        return stream.read()


def _account(find: Callable[[int], object], number: int) -> str:
    try:
        return str(find(number)[0])  # type: ignore[index]
    except KeyError:
        return str(number)


def _noun(is_file: bool) -> str:
    return "file" if is_file else "folder"


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a file" if stat.S_ISREG(mode) else "a device, pipe or socket"
