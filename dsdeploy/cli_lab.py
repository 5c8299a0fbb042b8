"""`dsdeploy lab …` on the command line: options, and one call a verb."""

from __future__ import annotations

from pathlib import Path

import click

SITE = click.option(
    "--site", type=click.Path(path_type=Path), default=None,
    help="Site file whose machines are meant; default ./site.yml, else inventory/lab/site.yml.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON on stdout.")


@click.group()
def lab() -> None:
    """Machines to try a site on: systemd hosts on this computer, and a mirror with a tiny model.

    \b
    Example:  dsdeploy lab up && dsdeploy up inventory/lab/site.yml
              dsdeploy lab ssh gpu1
              dsdeploy lab down
    """


@lab.command()
@SITE
@JSON
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="[HOST=]IMAGE",
    help="An image of your own: systemd as /sbin/init, sshd, python3. With HOST= for that machine alone; repeatable.",
)
@click.option("--engine", type=click.Choice(["podman", "docker"]), default="podman", show_default=True)
def up(site: Path | None, as_json: bool, images: tuple[str, ...], engine: str) -> int:
    """Make the machines of a site file; those that run already are kept.

    \b
    Example:  dsdeploy lab up --site site.yml
              dsdeploy lab up --image gpu2=localhost/another-linux
    """
    from dsdeploy.commands import lab as run

    return run.up(site, images=images, engine=engine, as_json=as_json)


@lab.command()
@SITE
@JSON
def down(site: Path | None, as_json: bool) -> int:
    """Take the machines away, with everything the lab made; the image stays in the cache.

    \b
    Example:  dsdeploy lab down
    """
    from dsdeploy.commands import lab as run

    return run.down(site, as_json=as_json)


@lab.command()
@SITE
@JSON
def status(site: Path | None, as_json: bool) -> int:
    """Show each machine; exit 0 only if all of them run and answer.

    \b
    Example:  dsdeploy lab status --json
    """
    from dsdeploy.commands import lab as run

    return run.status(site, as_json=as_json)


@lab.command()
@click.argument("host")
@SITE
def restart(host: str, site: Path | None) -> int:
    """Restart a machine, as a power cycle would; what is on its disk stays.

    \b
    Example:  dsdeploy lab restart gpu1
    """
    from dsdeploy.commands import lab as run

    return run.restart(site, host)


@lab.command()
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@SITE
def ssh(host: str, command: tuple[str, ...], site: Path | None) -> int:
    """Log in to a machine, or run one command there.

    \b
    Example:  dsdeploy lab ssh gpu1
              dsdeploy lab ssh gpu1 -- journalctl -n 20 -u dsdeploy-engine@blue
    """
    from dsdeploy.commands import lab as run

    return run.ssh(site, host, command)
