"""The one kind of failure that is expected: it says what, where, and what to do."""

from __future__ import annotations


class BuildError(Exception):
    """The build was refused or failed; nothing of it is left behind."""

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
