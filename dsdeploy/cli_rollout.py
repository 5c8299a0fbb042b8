"""Verbs that move releases: options, and one call each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsdeploy.cli_options import DOWNTIME, JSON, SITE, VERBOSE, YES, asked


@click.command()
@SITE
@YES
@DOWNTIME
@click.option("--component", type=click.Choice(("engine", "zookeeper")), default="engine", help="What is upgraded.")
@JSON
@VERBOSE
def upgrade(site: Path, component: str, **how: Any) -> int:
    """Replace the release that serves by the one the site file asks for, without a failed request.

    Everything is prepared while the old release serves. Then batch by batch, one host first: gate, switch,
    proof by requests, drain, soak. Anything that says no leaves or returns requests to the old release (exit 5).

    \b
    Example:  dsdeploy upgrade site.yml
              dsdeploy upgrade site.yml --component zookeeper
    """
    from dsdeploy.commands.upgrade import members
    from dsdeploy.commands.upgrade import upgrade as run

    return members(site, asked(how)) if component == "zookeeper" else run(site, asked(how))


@click.command()
@SITE
@click.option("--to", metavar="RELEASE", help="This release instead of the one before; `history` lists them.")
@YES
@DOWNTIME
@JSON
@VERBOSE
def rollback(site: Path, to: str | None, **how: Any) -> int:
    """Return to the release that served before, by the same loop.

    An upgrade that was left unfinished is taken back. With nothing to roll back it says so and changes nothing.

    \b
    Example:  dsdeploy rollback site.yml
              dsdeploy rollback site.yml --to v1-9c1a1648ab59
    """
    from dsdeploy.commands.rollback import rollback as run

    return run(site, asked(how), to)


@click.command()
@SITE
@YES
@DOWNTIME
@JSON
@VERBOSE
def resume(site: Path, **how: Any) -> int:
    """Finish an upgrade or rollback that was left unfinished, from any computer that has the site file.

    \b
    Example:  dsdeploy resume site.yml
    """
    from dsdeploy.commands.resume import resume as run

    return run(site, asked(how))


@click.command()
@SITE
@YES
@JSON
@VERBOSE
def abort(site: Path, **how: Any) -> int:
    """Take back an upgrade that was left unfinished: requests return, the new release is stopped.

    \b
    Example:  dsdeploy abort site.yml
    """
    from dsdeploy.commands.abort import abort as run

    return run(site, asked(how))


@click.command()
@SITE
@JSON
def history(site: Path, as_json: bool) -> int:
    """Releases on the hosts, and the runs that brought and replaced them.

    \b
    Example:  dsdeploy history site.yml
              dsdeploy history site.yml --json | jq '.runs[-1]'
    """
    from dsdeploy.commands.history import history as run

    return run(site, as_json=as_json)


@click.group()
def lock() -> None:
    """Who changes the site now; and taking the lock from a run that cannot give it back.

    \b
    Example:  dsdeploy lock show site.yml
    """


@lock.command()
@SITE
@JSON
def show(site: Path, as_json: bool) -> int:
    """Print who holds the deploy lock.

    \b
    Example:  dsdeploy lock show site.yml
    """
    from dsdeploy.commands.lock import show as run

    return run(site, as_json)


@lock.command()
@SITE
@click.argument("lock_id", metavar="ID")
def release(site: Path, lock_id: str) -> int:
    """Release the lock with this id; its run stops before its next step.

    \b
    Example:  dsdeploy lock release site.yml 3f9a2c1b77d0
    """
    from dsdeploy.commands.lock import release as run

    return run(site, lock_id)
