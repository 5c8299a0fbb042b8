"""The one expected failure: what, where, what to try; and the exit code that tells them apart."""

from __future__ import annotations

from typing import Any, Dict

DONE, FAILED, USAGE, ELSEWHERE, BUSY = 0, 1, 2, 6, 75  # ELSEWHERE: proven here, not (yet) offsite


class Trouble(Exception):
    """A sentence for the operator."""

    def __init__(self, what: str, where: str = "", hint: str = "", code: int = FAILED) -> None:
        super().__init__(what)
        self.what, self.where, self.hint, self.code = what, where, hint, code

    def document(self) -> Dict[str, Any]:
        return {"ok": False, "what": self.what, "where": self.where, "hint": self.hint}


class Mismatch(Trouble):
    """Bytes that are not what was backed up."""


class Hindered(Trouble):
    """It was not done: no time, no server, a process that was killed. That says nothing of a snapshot."""


class NoRoom(Hindered):
    """The same for a disk that is full: on this host it would be full for any other try as well."""
