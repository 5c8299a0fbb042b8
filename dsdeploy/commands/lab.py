"""`dsdeploy lab`: machines on the operator's own computer, for one site file."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsdeploy import output
from dsdeploy.errors import LabError
from dsdeploy.lab import access, image, lifecycle
from dsdeploy.lab.layout import Layout
from dsdeploy.lab.lifecycle import ENGINES, State
from dsdeploy.lab.machines import Action
from dsdeploy.lab.podman import Podman
from dsdeploy.site import Site, load

DEFAULTS = (Path("site.yml"), Path("inventory/lab/site.yml"))
_DONE = {"create": "made", "replace": "made anew", "start": "started", "reuse": "up already"}


def up(path: Path | None, *, images: Sequence[str] = (), engine: str = "podman", as_json: bool = False) -> int:
    """Make the lab of a site file be there. `images`: the user's own, `IMAGE` or `HOST=IMAGE`; else ours is built."""
    site = load(site_file(path))
    chosen = image.chosen(images, site.hosts)
    lab, actions = lifecycle.up(site, images=chosen, engine=_known(engine), step=output.step)
    if as_json:
        output.emit_json(_lab_dict(lab) | {"machines": [_action_dict(action) for action in actions]})
        return 0
    rows = [
        (a.wanted.machine.name, a.wanted.machine.address, _DONE[a.verb], _roles(site, a.wanted.machine.name))
        for a in actions
    ]
    output.table(("machine", "address", "", "roles"), rows)
    output.say(f"next: dsdeploy up {_shown(site)}")
    return 0


def down(path: Path | None, *, engine: str = "", as_json: bool = False) -> int:
    """Take the lab away with everything it made. `engine`: "" for the one it was started with."""
    site = load(site_file(path))
    restored = lifecycle.down(site, engine=_known(engine), step=output.step)
    if as_json:
        output.emit_json({"lab": site.site, "kernel_restored": restored})
        return 0
    for line in restored:
        output.note(f"    kernel setting put back: {line}")
    if (kept := site.file.parent / ".dsdeploy" / site.site).is_dir():
        output.note(f"    kept: {kept} (inventories and logs of runs)")
    return 0


def status(path: Path | None, *, engine: str = "", as_json: bool = False) -> int:
    """Show each machine. Exit 0 only if all of them run and answer."""
    site = load(site_file(path))
    lab, podman, states = lifecycle.status(site, engine=_known(engine))
    if as_json:
        whole = all(state.answers for state in states)
        output.emit_json(
            _lab_dict(lab)
            | {
                "up": whole,
                "podman_env": podman.own_env(),
                "machines": [_state_dict(state) for state in states],
            }
        )
    else:
        rows = [
            (s.machine.name, s.machine.address, s.state, "yes" if s.answers else "no", s.machine.container)
            for s in states
        ]
        output.table(("machine", "address", "state", "answers", "container"), rows)
        there = any(state.state != "absent" for state in states)
        output.note(f"by hand: {_by_hand(podman, lab)}" if there else f"next: dsdeploy lab up --site {_shown(site)}")
    return 0 if all(state.answers for state in states) else 1


def ssh(path: Path | None, host: str, command: Sequence[str] = ()) -> int:
    """Log in to a machine, or run one command there; returns its exit code."""
    return subprocess.run(access.ssh_argv(load(site_file(path)), host, command), check=False).returncode


def restart(path: Path | None, host: str, *, engine: str = "") -> int:
    """Restart one machine, as a reboot would."""
    lifecycle.restart(load(site_file(path)), host, engine=_known(engine), step=output.step)
    return 0


def site_file(path: Path | None) -> Path:
    """The file named, or ./site.yml, or the example of a checkout."""
    if path is not None:
        return path
    for default in DEFAULTS:
        if default.exists():
            return default
    raise LabError("no site file here", str(Path.cwd()), "dsdeploy init, or: dsdeploy lab up --site PATH")


def _known(engine: str) -> str:
    if engine and engine not in ENGINES:
        raise LabError(f"the lab does not know {engine}", "--engine", f"one of: {', '.join(ENGINES)}")
    return engine


def _shown(site: Site) -> str:
    """The site file as the operator would type it."""
    try:
        return str(site.file.relative_to(Path.cwd()))
    except ValueError:
        return str(site.file)


def _by_hand(podman: Podman, lab: Layout) -> str:
    """How to restart a machine: podman finds the lab's network for sure only with the lab's settings."""
    settings = "".join(f"{key}={shlex.quote(value)} " for key, value in podman.own_env().items())
    return f"{settings}{podman.name} restart {lab.machines[0].container}"


def _roles(site: Site, name: str) -> str:
    return ", ".join(site.hosts[name].roles) if name in site.hosts else "weights mirror"


def _lab_dict(lab: Layout) -> dict[str, Any]:
    return {"lab": lab.name, "network": lab.network, "subnet": str(lab.subnet)}


def _action_dict(action: Action) -> dict[str, Any]:
    machine = action.wanted.machine
    return {
        "name": machine.name,
        "address": machine.address,
        "container": machine.container,
        "done": action.verb,
    }


def _state_dict(state: State) -> dict[str, Any]:
    machine = state.machine
    return {
        "name": machine.name,
        "address": machine.address,
        "container": machine.container,
        "state": state.state,
        "answers": state.answers,
    }
