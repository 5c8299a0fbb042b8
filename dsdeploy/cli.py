"""The command line: options, and one call a verb. It decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsdeploy import __version__
from dsdeploy.cli_backup import backup, restore
from dsdeploy.cli_lab import lab
from dsdeploy.cli_options import DOWNTIME, JSON, LIMIT, SITE, VERBOSE, YES, asked, names
from dsdeploy.cli_rollout import abort, history, lock, resume, rollback, upgrade

STAGES = (
    "prep", "stack", "fabric", "weights", "build", "ensemble", "engine", "router", "health", "backup", "monitor",
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsdeploy")
def cli() -> None:
    """From bare GPU machines to a serving DeepSeek model, over SSH.

    \b
    dsdeploy init                 write an annotated site.yml
    dsdeploy lab up               machines to try it on, on this computer
    dsdeploy up site.yml          make the site so
    dsdeploy status site.yml      is it so?
    dsdeploy upgrade site.yml     replace the release that serves, without a failed request
    dsdeploy rollback site.yml    return to the one before

    \b
    exit codes: 0 done · 1 refused or failed · 2 usage or site file · 3 a bug · 4 hosts unreachable
                5 a gate said no, the old release serves · 75 locked · 130 interrupted, resumable
    """


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), default="site.yml")
@click.option("--force", is_flag=True, help="Replace an existing file (the old one is kept as PATH.bak).")
def init(path: Path, force: bool) -> int:
    """Write an annotated site file, and the JSON Schema an editor completes it with.

    \b
    Example:  dsdeploy init site.yml
    """
    from dsdeploy.commands.init import init as run

    return run(path, force=force)


@cli.command()
def schema() -> int:
    """Print the JSON Schema of the site file.

    \b
    Example:  dsdeploy schema > site.schema.json
    """
    from dsdeploy.commands.schema import schema as run

    return run()


@cli.command()
@click.argument("name", required=False)
@JSON
def stacks(name: str | None, as_json: bool) -> int:
    """The stacks a site file can name; with NAME, what one installs on each distribution, and what it needs.

    \b
    Example:  dsdeploy stacks
              dsdeploy stacks cuda13 --json | jq .installs.el9
    """
    from dsdeploy.commands.stacks import stacks as run

    return run(name, as_json=as_json)


@cli.command()
@SITE
def inventory(site: Path) -> int:
    """Print the inventory that Ansible gets.

    \b
    Example:  dsdeploy inventory site.yml > inventory.yml && ansible-inventory -i inventory.yml --list
    """
    from dsdeploy.commands.inventory import inventory as run

    return run(site)


@cli.command()
@SITE
@JSON
@LIMIT
@click.option("--fabric", is_flag=True, help="Measure GPUs and RDMA between the engine hosts; minutes, at full load.")
@click.option("--while-serving", is_flag=True, help="With --fabric: measure although a release serves there.")
def check(site: Path, as_json: bool, limit: str, fabric: bool, while_serving: bool) -> int:
    """Read the site file and every host; print all problems at once. Changes nothing.

    \b
    Example:  dsdeploy check site.yml
              dsdeploy check site.yml --json | jq .problems
              dsdeploy check site.yml --fabric
    """
    from dsdeploy.commands.check import check as run
    from dsdeploy.commands.check import measure

    if fabric:
        return measure(site, as_json=as_json, limit=names(limit), while_serving=while_serving)
    return run(site, as_json=as_json, limit=names(limit))


@cli.command()
@SITE
@JSON
@LIMIT
@DOWNTIME
def plan(site: Path, as_json: bool, limit: str, allow_downtime: bool) -> int:
    """Show what `up` would do on each host, and why. Changes nothing.

    \b
    Example:  dsdeploy plan site.yml
    """
    from dsdeploy.commands.plan import plan as run

    return run(site, as_json=as_json, limit=names(limit), allow_downtime=allow_downtime)


@cli.command()
@SITE
@YES
@click.option("--check", "dry", is_flag=True, help="The same as `plan`: show, touch nothing.")
@click.option("--only", type=click.Choice(STAGES), help="Run one stage only.")
@LIMIT
@DOWNTIME
@JSON
@VERBOSE
def up(site: Path, dry: bool, only: str | None, limit: str, **how: Any) -> int:
    """Bring the whole site to what the site file says, and prove it.

    Where another release serves, it is replaced as `upgrade` does it.

    \b
    Example:  dsdeploy up site.yml
              dsdeploy up site.yml --yes --only weights --limit gpu1
    """
    from dsdeploy.commands.plan import plan as show
    from dsdeploy.commands.up import up as run

    if dry:
        return show(site, as_json=how["as_json"], limit=names(limit), allow_downtime=how["allow_downtime"])
    return run(site, asked(how), only=only, limit=names(limit))


@cli.command()
@SITE
@JSON
@LIMIT
@click.option("--watch", "again", is_flag=True, help="Look again and again, on a screen of its own, until Ctrl-C.")
def status(site: Path, as_json: bool, limit: str, again: bool) -> int:
    """What serves, on which hosts, and what is wrong. Exit 0 only if the site is healthy.

    \b
    Example:  dsdeploy status site.yml
              dsdeploy status site.yml --json | jq .healthy
              dsdeploy status site.yml --watch
    """
    from dsdeploy.commands.status import status as run
    from dsdeploy.commands.status import watch

    if again and as_json:
        raise click.UsageError("--watch draws on a terminal; --json says it once")
    return watch(site, limit=names(limit)) if again else run(site, as_json=as_json, limit=names(limit))


@cli.command()
@SITE
@JSON
@LIMIT
@click.option("--deep", is_flag=True, help="Read every byte again, also of files that look untouched.")
def verify(site: Path, as_json: bool, limit: str, deep: bool) -> int:
    """Check weights and builds on the hosts against what was verified when they arrived.

    \b
    Example:  dsdeploy verify site.yml --deep
    """
    from dsdeploy.commands.verify import verify as run

    return run(site, as_json=as_json, deep=deep, limit=names(limit))


@cli.command()
@SITE
@JSON
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Also write what was seen to this archive, secrets removed."
)
@click.option("--from", "source", type=click.Path(path_type=Path), help="Look at such an archive instead of the hosts.")
def doctor(site: Path, as_json: bool, bundle: Path | None, source: Path | None) -> int:
    """What is wrong, why, and the next command. Exit 0 only if nothing known is wrong.

    \b
    Example:  dsdeploy doctor site.yml
              dsdeploy doctor site.yml --bundle support.tar.gz
              dsdeploy doctor --from support.tar.gz
    """
    from dsdeploy.commands.doctor import doctor as run

    return run(site, as_json=as_json, bundle=bundle, source=source)


cli.add_command(lab)
cli.add_command(lock)
for command in (upgrade, rollback, resume, abort, history, backup, restore):
    cli.add_command(command)
