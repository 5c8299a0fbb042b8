"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dsdeploy.rollout.asked import Asked

Command = TypeVar("Command", bound=Callable[..., Any])
SITE = click.argument("site", type=click.Path(path_type=Path), default="site.yml")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON on stdout.")
LIMIT = click.option("--limit", metavar="HOST[,HOST…]", default="", help="Only these hosts of the site.")
VERBOSE = click.option("-v", "--verbose", count=True, help="Show each changed task; twice: pass -v on to Ansible.")
DOWNTIME = click.option(
    "--allow-downtime", is_flag=True, help="Go on where requests must fail while one release replaces the other."
)
YES = click.option("--yes", is_flag=True, help="Do not ask before changing hosts.")


def names(limit: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in limit.split(",") if name.strip())


def asked(how: dict[str, Any]) -> Asked:
    """--yes, --allow-downtime, --json and -v as one value."""
    from dsdeploy.rollout.asked import Asked

    return Asked(
        how.get("yes", False), how.get("allow_downtime", False), how.get("as_json", False), how.get("verbose", 0)
    )
