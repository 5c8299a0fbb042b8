"""The words of a launch (@PORT@, @CACHE@ …) filled in for one place. Pure but for who the service user is."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

USER = "dsdeploy"
_WORD = re.compile(r"@([A-Z_]+)@")


class Unfilled(ValueError):
    """A word that this place does not have."""


def words(place: Mapping[str, str], release: Path, cache: Path, name: str) -> Dict[str, str]:
    """Every word's value; those of engines of several hosts are there only where the place has them."""
    found = {
        "ADDRESS": place["ADDRESS"], "PORT": place["PORT"], "RUNTIME": str(release / "runtime"),
        "WEIGHTS": str((release / "weights").resolve()), "BUILD": str((release / "build").resolve()),
        "CACHE": str(cache), "NAME": name,
    }  # fmt: skip
    for key in ("RANK", "HEAD", "INNER_PORT"):
        if key in place:
            found[key] = place[key]
    if "HEAD" in found:
        found["HEAD_HOST"] = f"[{found['HEAD']}]" if ":" in found["HEAD"] else found["HEAD"]
    if "INNER_PORT" in found:
        found["METRICS_PORT"] = str(int(found["INNER_PORT"]) + 2)
    try:
        user = pwd.getpwnam(USER)
        found.update(UID=str(user.pw_uid), GID=str(user.pw_gid))
    except KeyError:
        found.update(UID=str(os.getuid()), GID=str(os.getgid()))
    return found


def fill(text: str, known: Mapping[str, str]) -> str:
    """Raises Unfilled."""

    def value(match: "re.Match[str]") -> str:
        if match.group(1) not in known:
            raise Unfilled(f"{match.group(0)} in {text!r} has no value in this place")
        return known[match.group(1)]

    return _WORD.sub(value, text)


def command(launch: Mapping[str, Any], known: Mapping[str, str]) -> Tuple[List[str], Dict[str, str]]:
    """argv and what is added to the environment. Raises Unfilled."""
    argv = [*launch["wrap"], *launch["argv"]]
    if int(known.get("RANK", "0")) > 0:
        argv += launch["worker"]
    environment = {name: fill(str(value), known) for name, value in launch["environment"].items()}
    return [fill(str(word), known) for word in argv], environment
