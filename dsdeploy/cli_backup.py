"""Verbs about backups: options, and one call each."""

from __future__ import annotations

from pathlib import Path

import click

from dsdeploy.cli_options import JSON, LIMIT, SITE, YES, names


@click.group()
def backup() -> None:
    """Backups of the hosts: each makes its own every night; here they are made now, listed and proven.

    \b
    Example:  dsdeploy backup list site.yml
    """


@backup.command()
@SITE
@LIMIT
@click.option("--full", is_flag=True, help="Read everything again, not only what changed.")
def run(site: Path, limit: str, full: bool) -> int:
    """Make a backup on every host, restore it there into a scratch folder, and compare.

    \b
    Example:  dsdeploy backup run site.yml
    """
    from dsdeploy.commands.backup import run as call

    return call(site, names(limit), full)


@backup.command(name="list")
@SITE
@LIMIT
@JSON
def list_(site: Path, limit: str, as_json: bool) -> int:
    """Print the snapshots, which is the newest good one, and what nobody of ours made.

    \b
    Example:  dsdeploy backup list site.yml --json | jq .hosts.gpu1.newest
    """
    from dsdeploy.commands.backup import listed

    return listed(site, names(limit), as_json)


@backup.command()
@SITE
@LIMIT
def verify(site: Path, limit: str) -> int:
    """Restore and compare every snapshot again, and read every byte of the repositories on the hosts.

    \b
    Example:  dsdeploy backup verify site.yml
    """
    from dsdeploy.commands.backup import verify as call

    return call(site, names(limit))


@click.command()
@SITE
@click.argument("snapshot", required=False, default="")
@click.option("--host", default="", help="This host; without it every one restores its own.")
@click.option("--what", multiple=True, help="A set, as in zookeeper or journal; may be given again. Else everything.")
@click.option("--to", default="", metavar="DIR", help="A new folder on the host, instead of in place.")
@click.option("--from", "source", type=click.Choice(("auto", "local", "offsite")), default="auto", help="Where from.")
@click.option("--replace", is_flag=True, help="Stop what runs on these files, and start it again.")
@YES
def restore(
    site: Path, snapshot: str, host: str, what: tuple[str, ...], to: str, source: str, replace: bool, yes: bool
) -> int:
    """Bring files back from a snapshot: its number or id, else the newest good one.

    All of it is restored into a scratch folder and compared first; what was there is kept beside. A ZooKeeper member
    comes back without the others losing their quorum; where none serves, all come back together.

    \b
    Example:  dsdeploy restore site.yml --host gpu1 --to /root/drill
              dsdeploy restore site.yml 41 --host gpu1 --what zookeeper --replace
    """
    from dsdeploy.commands.restore import restore as call

    return call(site, snapshot, host, what, to, source, replace, yes)
