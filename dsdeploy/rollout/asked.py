"""How the operator asked: what every verb that moves releases takes."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy import output

REFUSED = 1  # exit code when the operator says no


@dataclass(frozen=True)
class Asked:
    """Options of the command line, alike for all these verbs."""

    yes: bool = False
    allow_downtime: bool = False
    as_json: bool = False
    verbose: int = 0

    def confirmed(self, question: str) -> bool:
        """Whether the operator wants it; says so when not."""
        if self.yes or output.confirm(question):
            return True
        output.note("nothing was changed; --yes goes on without asking")
        return False

    def answer(self, text: str, run: str | None = None) -> int:
        """A sentence as the result, or as JSON; exit code 0."""
        if self.as_json:
            output.emit_json({"ok": True, "run": run, "message": text})
        else:
            output.say(text)
        return 0
