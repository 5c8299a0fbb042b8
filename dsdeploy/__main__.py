"""The only entry point: run the command line, turn errors into exit codes."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click

from dsdeploy import crash, output
from dsdeploy.cli import cli
from dsdeploy.errors import DsdeployError, GateError, PlaybookFailed, PostconditionFailed

INTERRUPTED = 130
USAGE = 2


def main() -> None:
    """Run the command line and leave with its exit code (DESIGN: 0 1 2 3 4 5 75 130)."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    try:
        return int(cli.main(argv, prog_name="dsdeploy", standalone_mode=False) or 0)
    except DsdeployError as error:
        report(error, argv)
        support(error, argv)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.exceptions.Abort):
        output.note("interrupted; what was finished is kept, run the same command to go on")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a crash log
        return crash.report(error, argv)


def report(error: DsdeployError, argv: list[str]) -> None:
    """Print every problem; the commands it names get the site file of this call, so that they work as printed."""
    site = shlex.quote(site_file(argv))
    problems = [replace(p, hint=re.sub(r"\bSITE\b", lambda _: site, p.hint)) for p in error.problems]
    output.errors(problems)
    if "--json" in argv:
        output.emit_json({"ok": False, "problems": [output.problem_dict(p) for p in problems]})


def site_file(argv: list[str]) -> str:
    return next((word for word in argv[1:] if word.endswith((".yml", ".yaml"))), "site.yml")


def support(error: DsdeployError, argv: list[str]) -> None:
    """A run that failed while it changed hosts leaves an archive of what they say now, for whoever helps."""
    if argv[:1] in (["up"], ["upgrade"]) and isinstance(error, (GateError, PlaybookFailed, PostconditionFailed)):
        from dsdeploy.commands.doctor import keep

        keep(Path(site_file(argv)))


if __name__ == "__main__":
    main()
