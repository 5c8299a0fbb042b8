"""Every expected failure, as one tree.

DsdeployError          exit 1   refused or failed; the state is described
├── SiteError          exit 2   the site file is wrong; carries every problem found
├── PreflightError     exit 1   hosts are not ready; carries every problem found
├── PlaybookFailed     exit 1   a task failed on a host
├── PostconditionFailed exit 1  it ran to its end, but what was to be is not
├── LabError           exit 1   the lab cannot run here
├── HostUnreachable    exit 4   hosts did not answer over SSH
├── GateError          exit 5   a gate said no; the old release serves
├── LockHeld           exit 75  somebody else is changing this site
├── Fenced             exit 75  somebody else took over while this run was away
└── Interrupted        exit 130 stopped between two steps; resumable

Each says what happened, where, and a command that helps. Modules raise; only
``__main__`` turns an error into an exit code. Anything else that escapes is a
bug: exit 3, with a crash log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where: ``site.yml:12:5`` or ``host gpu1``."""

    what: str
    where: str = ""
    hint: str = ""


class DsdeployError(Exception):
    """Base of all expected failures: what happened, where, and what to try."""

    exit_code = 1

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (Problem(self.what, self.where, self.hint),)


class Problems(DsdeployError):
    """Several findings reported at once, so that one run is enough to fix them all."""

    def __init__(self, problems: Sequence[Problem], what: str = "") -> None:
        first = problems[0]
        super().__init__(what or first.what, first.where, first.hint)
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._problems


class SiteError(Problems):
    exit_code = 2


class PreflightError(Problems):
    pass


class PlaybookFailed(Problems):
    pass


class PostconditionFailed(Problems):
    pass


class LabError(DsdeployError):
    pass


class HostUnreachable(Problems):
    exit_code = 4


class GateError(Problems):
    """One reason as words, or several as problems."""

    exit_code = 5

    def __init__(self, what: str | Sequence[Problem], where: str = "", hint: str = "") -> None:
        super().__init__([Problem(what, where, hint)] if isinstance(what, str) else what)


class LockHeld(DsdeployError):
    exit_code = 75


class Fenced(DsdeployError):
    exit_code = 75


class Interrupted(DsdeployError):
    exit_code = 130
