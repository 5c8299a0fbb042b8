"""Where the weights of one version and what is known about them live on this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import names
from .errors import Refused

WEIGHTS = Path("/srv/dsdeploy/weights")
BUILDS = Path("/srv/dsdeploy/builds")
STATE = Path("/var/lib/dsdeploy")


@dataclass(frozen=True)
class Layout:
    """Paths of one model version; ``weights`` and ``state`` are moved by tests only."""

    model: str
    version: str
    weights: Path = WEIGHTS
    state: Path = STATE

    def __post_init__(self) -> None:
        for what, text in (("model", self.model), ("version", self.version)):
            if not names.is_identifier(text):
                raise Refused(
                    f"{what} {text!r} is not a name this host accepts",
                    hint="use letters, digits, dot, dash and underscore, beginning with a letter or digit",
                )

    @property
    def live(self) -> Path:
        return self.weights / self.model / self.version

    @property
    def staging(self) -> Path:
        return self.weights / self.model / f"{self.version}.partial"

    @property
    def _known(self) -> Path:
        return self.state / "weights" / self.model

    @property
    def stamp(self) -> Path:
        return self._known / f"{self.version}.json"

    @property
    def journal(self) -> Path:
        """What is verified in staging so far: makes a resumed pull as cheap as a stamp."""
        return self._known / f"{self.version}.journal"

    @property
    def progress(self) -> Path:
        return self._known / f"{self.version}.progress"

    @property
    def lock(self) -> Path:
        return self._known / f"{self.version}.lock"

    def make(self) -> None:
        """Create the directories above the files, 0755 whatever the umask."""
        for directory in (self.live.parent, self._known):
            for path in reversed([directory, *directory.parents]):
                if not path.is_dir():
                    path.mkdir(mode=0o755)
                    path.chmod(0o755)
