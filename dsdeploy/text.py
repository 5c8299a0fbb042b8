"""Text from a file the operator wrote: read with limits, refused where it could deceive, shown safely."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from dsdeploy.errors import Problem, SiteError

MAX_BYTES = 1024 * 1024

# Control characters, line breaks only YAML 1.1 knows, and characters that are
# invisible or turn the reading direction: what is seen would not be what is read.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\uffff\U000e0000-\U000e0fff]|\r(?!\n)"
)
_BOMS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read(path: Path) -> str:
    """The text of a regular file of at most 1 MiB of clean UTF-8.

    Raises:
        SiteError: what is wrong with the file, with line and column where there is one.
    """
    data = _bytes(path)
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            what = f"the file starts with a {encoding} byte order mark"
            raise SiteError([Problem(what, str(path), "save it as UTF-8 without BOM")])
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode("utf-8"))
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise SiteError([Problem(what, place(str(path), line, column), "save the file as UTF-8 text")]) from None
    if found := _FORBIDDEN.search(content):
        what = f"the character U+{ord(found.group()[0]):04X} is invisible or a control character"
        where = place(str(path), *_position(content[: found.start()]))
        raise SiteError([Problem(what, where, "delete it; a site file is plain, visible text")])
    return content


def _bytes(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SiteError([Problem(f"this is {kind}, not a site file", str(path), "name the site.yml itself")])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = f"dsdeploy init {path}" if path.suffix in (".yml", ".yaml") else "dsdeploy init"
        raise SiteError([Problem("there is no such file", str(path), hint)]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path itself
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SiteError([Problem(f"the file cannot be read: {reason}", shown(str(path)))]) from None
    if len(data) > MAX_BYTES:
        hint = "a site file has some dozens of lines; is this the right file?"
        raise SiteError([Problem(f"the file is larger than {MAX_BYTES // 1024} KiB", str(path), hint)])
    return data


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 0, of what comes after this text."""
    return before.count("\n"), len(before) - (before.rfind("\n") + 1)


def place(name: str, line: int, column: int) -> str:
    """`file:line:column` as editors and terminals understand it, counted from 1."""
    return f"{name}:{line + 1}:{column + 1}"


def shown(value: object, limit: int = 60) -> str:
    """A value as it may be printed: quoted, ASCII escapes for anything odd, cut at ``limit`` characters."""
    spelled = str(value).lower() if isinstance(value, bool) else str(getattr(value, "typed", value))
    cut = spelled[:limit] + ("…" if len(spelled) > limit else "")
    return ascii(cut).replace("\\u2026", "…")


def snippet(line: str, column: int, width: int = 100) -> str:
    """One line of the file with a caret under a column; long lines are cut around it."""
    start = max(0, column - width // 2)
    part = line[start : start + width].replace("\t", "→")
    visible = "".join(char if char.isprintable() else "?" for char in part)
    return f"    {visible}\n    {' ' * (column - start)}^"
