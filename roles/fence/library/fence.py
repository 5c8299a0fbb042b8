#!/usr/bin/python
"""Role module: a host refuses a run that was overtaken, and remembers the runs that touched it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fence
short_description: Refuse a run that was overtaken, and note this one in the host's journal
description:
  - Keeps the highest epoch this host has seen. A run with a lower one, or another run with the same one, fails.
  - Appends to the run's journal, one JSON object a line, on disk before the module returns.
  - Is never a change. In check mode it compares epochs and writes nothing.
options:
  host: {description: The host's name, for messages., type: str, required: true}
  epoch: {description: Number that the run got with its lock; 0 for a run without one., type: int, required: true}
  run: {description: Id of the run., type: str, required: true}
  header: {description: First line of the journal., type: dict, required: true}
  record: {description: Line to append; empty for none., type: dict, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Refuse a run that was overtaken
  fence: {host: gpu1, epoch: 43, run: 20261122T051500-811-upgrade, header: {kind: begin}, record: {}}
"""

RETURN = r"""
seen: {description: Epoch the host had seen before; 0 for none., returned: success, type: int}
"""

import contextlib  # noqa: E402
import errno  # noqa: E402
import fcntl  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import stat  # noqa: E402
import time  # noqa: E402
from typing import Any, Dict, Iterator, NamedTuple, Tuple  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

STATE = "/var/lib/dsdeploy"
KEPT = 50
LOCK_S = 30.0
Epoch = Tuple[int, str]


class Refused(Exception):
    """The message for the operator."""


class This(NamedTuple):
    """The run that asks, and the host it asks."""

    host: str
    epoch: int
    run: str
    site: str


def read(path: str) -> bytes:
    """The whole file; empty when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def seen(state: str) -> Epoch:
    """Epoch and run on disk, (0, "") when none is. Raises Refused for a file nobody of us wrote."""
    path = os.path.join(state, "epoch")
    text = read(path)
    if not text and not os.path.lexists(path):
        return 0, ""
    found = re.fullmatch(rb"([0-9]{1,18}) ([0-9A-Za-z-]{1,200})\n", text)
    if not found:
        raise Refused(
            "%s is damaged: %s\ntry: see with `dsdeploy status SITE` that no run is under way, then remove the file"
            % (path, ascii(text[:80].decode("utf-8", "replace")))
        )
    return int(found.group(1)), found.group(2).decode()


def check(state: str, this: This) -> Epoch:
    """What the host has seen. Raises Refused when this run was overtaken, or the host is another site's."""
    site = read(os.path.join(state, "site"))[:200].decode("utf-8", "replace").strip()
    if this.site and site and site != this.site:
        raise Refused(
            "%s belongs to site %s, not to %s\ntry: take it out of one of the two site files, or, if %s is gone for"
            " good, remove %s on it" % (this.host, site, this.site, site, os.path.join(state, "site"))
        )
    epoch, run = seen(state)
    if this.epoch and epoch > this.epoch:
        raise Refused(
            "fenced: %s has seen epoch %d of run %s; this is epoch %d of run %s\ntry: dsdeploy status SITE"
            % (this.host, epoch, run, this.epoch, this.run)
        )
    if this.epoch and epoch == this.epoch and run != this.run:
        raise Refused(
            "fenced: on %s epoch %d belongs to run %s; this is run %s\ntry: dsdeploy status SITE"
            % (this.host, epoch, run, this.run)
        )
    return epoch, run


@contextlib.contextmanager
def at(path: str) -> Iterator[None]:
    """Gives an OSError the path it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def folder(path: str, mode: int) -> None:
    """Makes a folder of root's if it is missing; one that is there is the host role's to correct."""
    with at(path):
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "is not a folder") from None
            return
        os.chmod(path, mode)
        sync(os.path.dirname(path))


def sync(path: str) -> None:
    """A folder's entries onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes, flags: int, mode: int) -> None:
    """Data into a file, on disk when this returns."""
    with at(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, mode)
        try:
            os.fchmod(descriptor, mode)
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put(path: str, data: bytes, mode: int) -> None:
    """A file, whole or not at all."""
    draft = path + ".new"
    try:
        write(draft, data, os.O_TRUNC, mode)
        with at(path):
            os.replace(draft, path)
            sync(os.path.dirname(path))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def line(document: Dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n" if document else b""


def note(state: str, run: str, header: Dict[str, Any], record: Dict[str, Any]) -> None:
    """Header and record into the run's journal. A record that is its last line already is not repeated."""
    path = os.path.join(state, "runs", run + ".jsonl")
    with at(path):
        there = read(path)
    first, last = line(header), line(record)
    if b"\n" not in there:  # absent, or its first line was cut off
        if first + last:
            put(path, first + last, 0o600)
    elif last and not there.endswith(b"\n" + last):
        write(path, last if there.endswith(b"\n") else b"\n" + last, os.O_APPEND, 0o600)


def prune(runs: str, run: str) -> None:
    """Keep the newest journals: ids begin with the time."""
    names = sorted(name for name in os.listdir(runs) if name.endswith(".jsonl"))
    for name in [name for name in names if name != run + ".jsonl"][: -KEPT + 1]:
        with at(os.path.join(runs, name)):
            os.unlink(os.path.join(runs, name))


@contextlib.contextmanager
def alone(state: str) -> Iterator[None]:
    """One at a time on this host, so that nothing comes between the look at the epoch and the new one."""
    path = os.path.join(state, "fence.lock")
    with at(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Refused("%s has been held for %d s\ntry: fuser -v %s" % (path, LOCK_S, path)) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def enter(state: str, this: This, header: Dict[str, Any], record: Dict[str, Any]) -> int:
    """Check, remember the epoch, write the journal. The epoch seen before. Raises Refused and OSError."""
    check(state, this)  # before anything is made on a host that refuses
    folder(state, 0o755)
    with alone(state):
        epoch, _ = check(state, this)
        if epoch < this.epoch:
            put(os.path.join(state, "epoch"), ("%d %s\n" % (this.epoch, this.run)).encode("ascii"), 0o644)
        runs = os.path.join(state, "runs")
        folder(runs, 0o700)
        note(state, this.run, header, record)
        prune(runs, this.run)
    return epoch


HINTS = {
    errno.ENOSPC: "df -h %s; free some space on the host, then run the same command again",
    errno.EDQUOT: "df -h %s; free some space on the host, then run the same command again",
    errno.EROFS: "findmnt -T %s; a disk that failed is mounted read-only",
    errno.EACCES: "ls -ld %s; root must be able to write there, so see site.ssh.user, SELinux and the mount",
    errno.EPERM: "lsattr -d %s; root must be able to write there",
}


def main() -> None:
    text, number, document = ({"type": kind, "required": True} for kind in ("str", "int", "dict"))
    options = {"host": text, "epoch": number, "run": text, "header": document, "record": document}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    given = module.params
    if not re.fullmatch(r"[0-9A-Za-z-]{1,200}", given["run"]) or given["epoch"] < 0:
        module.fail_json(msg="not an epoch and a run id: %s, %s" % (given["epoch"], ascii(given["run"])))
    this = This(given["host"], given["epoch"], given["run"], str(given["header"].get("site") or ""))
    try:
        if module.check_mode:
            before, _ = check(STATE, this)
        else:
            before = enter(STATE, this, given["header"], given["record"])
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "ls -ld %s")
        where = error.filename or STATE
        module.fail_json(msg="%s: %s\ntry: %s" % (where, error.strerror, hint % os.path.dirname(str(where))))
    module.exit_json(changed=False, seen=before)


if __name__ == "__main__":
    main()
