"""What can go wrong, in four kinds.

Refused     stop now: nothing that is retried would help; carries every finding
BadFile     one file is not what the manifest says; worth fetching again
Transient   the source did not answer properly this time; worth waiting
Absent      the source says there is no such file
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Sequence, Tuple


@dataclass(frozen=True)
class Finding:
    """One file that is wrong. ``kind`` is one word: md5, sha256, size, missing, extra, header, content …"""

    path: str
    wanted: str
    got: str
    kind: str

    def sentence(self) -> str:
        return f"{self.path}: {self.kind}: wanted {self.wanted}, got {self.got}"


class Refused(Exception):
    """The work stops. ``where`` is a path on this host or an address; ``hint`` says what to do."""

    def __init__(self, what: str, where: str = "", hint: str = "", problems: Sequence[Finding] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.problems: Tuple[Finding, ...] = tuple(problems)

    def document(self) -> Dict[str, Any]:
        return {
            "what": self.what,
            "where": self.where,
            "hint": self.hint,
            "problems": [asdict(problem) for problem in self.problems],
            "text": self.text(),
        }

    def text(self) -> str:
        lines = [self.what]
        lines += [f"  {problem.sentence()}" for problem in self.problems]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class BadFile(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence())
        self.finding = finding


class Transient(Exception):
    """``retry_after`` is the source's own wish in seconds, when it gave one."""

    def __init__(self, what: str, retry_after: Optional[float] = None) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after


class Absent(Exception):
    pass
