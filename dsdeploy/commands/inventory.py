"""Print the inventory that Ansible gets."""

from __future__ import annotations

from pathlib import Path

from dsdeploy import inventory as border
from dsdeploy import output, site


def inventory(path: Path) -> int:
    """What is known from the site file alone; what a run decides later (release, colours) is not in it."""
    output.say(border.render(site.load(path)).rstrip("\n"))
    return 0
