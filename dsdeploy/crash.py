"""A bug: keep everything a report needs, show one line."""

from __future__ import annotations

import platform
import sys
import traceback
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from dsdeploy import __version__, output, paths
from dsdeploy.errors import Problem

EXIT_BUG = 3
PACKAGES = ("ansible-core", "pyinfra", "paramiko", "kazoo", "pydantic", "click", "rich")


def report(error: BaseException, argv: list[str]) -> int:
    """Write the crash log, already formatted as a bug report, and return the exit code for a bug."""
    now = datetime.now(timezone.utc)
    log = paths.cache_dir("crashes") / f"{now:%Y%m%dT%H%M%SZ}.md"
    log.write_text(_text(error, argv, now), encoding="utf-8")
    output.errors(
        [
            Problem(
                f"a bug in dsdeploy: {type(error).__name__}: {error}",
                f"crash log {log}",
                "report it with that file attached",
            )
        ]
    )
    return EXIT_BUG


def _text(error: BaseException, argv: list[str], now: datetime) -> str:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    versions = "\n".join(f"- {name} {_version(name)}" for name in PACKAGES)
    return (
        f"# dsdeploy crash, {now.isoformat(timespec='seconds')}\n\n"
        f"- dsdeploy {__version__}\n- Python {sys.version.split()[0]} on {platform.platform()}\n{versions}\n\n"
        f"## Command\n\n    dsdeploy {' '.join(argv)}\n\n## Traceback\n\n```\n{trace}```\n"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
