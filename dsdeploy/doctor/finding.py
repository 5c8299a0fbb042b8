"""One diagnosis, as evidence and catalogue make it and the command line prints it. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Finding:
    """`command` is a line for the operator's shell, in which SITE stands for the site file. `rank` 0 is what stops
    everything, 9 what may follow from something else."""

    entry: str
    host: str
    symptom: str
    cause: str
    command: str
    rank: int = 5

    def about(self, site_file: str) -> Finding:
        """The same with the site file's path in its command, so that the line can be copied."""
        return replace(self, command=re.sub(r"\bSITE\b", lambda _: shlex.quote(site_file), self.command))
