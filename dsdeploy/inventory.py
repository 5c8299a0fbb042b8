"""Site -> inventory.yml: the only writer across the border to Ansible.

Every value is printed by ``inert``: a string Ansible would template carries the
``!unsafe`` tag, so nothing a site file or a host said is ever evaluated. Only the
skeleton of groups and hosts is text, in templates/inventory.yml.j2.
"""

from __future__ import annotations

import math
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from dsdeploy import failover, firewall, monitoring, paths
from dsdeploy.backup import variables as keeping
from dsdeploy.decisions import Decisions, Order
from dsdeploy.fabric import settings as fabric
from dsdeploy.health import settings as health
from dsdeploy.inert import inert
from dsdeploy.runtimes import groups
from dsdeploy.site import Role, Site

GROUPS: tuple[Role, ...] = ("engine", "router", "zookeeper", "monitor")
COLOURS = ("blue", "green")
NAME = "inventory.yml"

Vars = dict[str, Any]


def write(site: Site, run_dir: Path, decisions: Decisions | None = None, order: Order | None = None) -> Path:
    """Write ``inventory.yml`` into a run's folder: whole or not at all, readable by the operator only."""
    path = run_dir / NAME
    descriptor, beside = tempfile.mkstemp(dir=run_dir, prefix=f".{NAME}.")  # mkstemp: 0600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(render(site, decisions, order))
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)
    return path


def render(site: Site, decisions: Decisions | None = None, order: Order | None = None) -> str:
    """The inventory as YAML text, for ansible-playbook, ansible-inventory and people."""
    return _template().render(values(site, decisions or Decisions(), order or Order()))


def values(site: Site, decided: Decisions, given: Order) -> Vars:
    """What is in it: `all` -> variables, `hosts` -> host -> variables, `groups` -> role -> vars and hosts."""
    told = {"router": _router_order(given)}
    groups = {
        role: {"vars": _GROUP_VARS[role](site, decided) | told.get(role, {}), "hosts": site.with_role(role)}
        for role in GROUPS
    }
    hosts = {name: host_vars(site, name, decided) | _interpreter(given, name) for name in site.hosts}
    every = connection(site) | host_settings(site) | firewall.every(site) | monitoring.every(site)
    every |= _fence(given) | keeping.every(site)
    every |= {"backup_words": list(given.words)} if given.words else {}
    return {"all": every, "hosts": hosts, "groups": groups}


def _interpreter(order: Order, name: str) -> Vars:
    return {"ansible_python_interpreter": order.interpreters[name]} if name in order.interpreters else {}


def _fence(order: Order) -> Vars:
    if not order.run:
        return {}
    return {
        "fence_epoch": order.epoch,
        "fence_run": order.run,
        "fence_header": dict(order.header),
        "fence_record": dict(order.record),
    }


def _router_order(order: Order) -> Vars:
    """Nothing at all for an inventory that is read by hand: the role's defaults order nothing."""
    told = {
        "router_epoch": order.epoch,
        "router_wishes": [f"{host}={colour}" for host, colour in order.wishes.items()],
        "router_names": [f"{server}={release}" for server, release in order.names.items()],
        "router_parked": list(order.parked),
        "router_cut": order.cut,
    }
    return {name: value for name, value in told.items() if value}


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(paths.TEMPLATES), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    environment.filters["tojson"] = inert
    return environment.get_template("inventory.yml.j2")


def connection(site: Site) -> Vars:
    """How Ansible reaches hosts: keys checked, no questions asked."""
    words = ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
    if site.ssh.known_hosts:
        # two readers: Ansible splits like a shell, then ssh splits the list of files at blanks
        words += ["-o", f'UserKnownHostsFile="{site.ssh.known_hosts}"']
    variables: Vars = {
        "ansible_user": site.ssh.user,
        "ansible_port": site.ssh.port,
        "ansible_python_interpreter": "/usr/bin/python3",
        # becomes ssh's ConnectTimeout; one among the common args would come second and not count
        "ansible_ssh_timeout": math.ceil(site.ssh.connect_timeout),
    }
    if site.ssh.identity:
        words += ["-o", "IdentitiesOnly=yes"]  # an agent full of keys would exhaust the server's attempts
        variables["ansible_ssh_private_key_file"] = str(site.ssh.identity)
    if site.ssh.user != "root":
        variables["ansible_become"] = True
    return variables | {"ansible_ssh_common_args": shlex.join(words)}


def host_settings(site: Site) -> Vars:
    """What the host role gets, on every host."""
    return {"host_site": site.site} | {f"host_{key}": value for key, value in site.host.model_dump().items()}


def host_vars(site: Site, name: str, decided: Decisions) -> Vars:
    """What differs from host to host."""
    host = site.hosts[name]
    variables: Vars = {"ansible_host": host.address} | keeping.host(site, name)
    if "engine" in host.roles:
        variables["engine_address"] = host.address
        if site.engine.nodes > 1:
            unit = groups.group(site, name)
            variables["engine_rank"] = unit.hosts.index(name)
            variables["engine_head"] = site.hosts[unit.head].address
        if name in decided.colours:
            variables["engine_colour"] = decided.colours[name]
        if name in decided.pythons:
            variables["engine_python"] = decided.pythons[name]
        variables |= {f"stack_{key}": value for key, value in decided.stacks.get(name, {}).items()}
        if decided.environment.get(name):
            variables["engine_environment"] = dict(decided.environment[name])
        variables |= health.peers(site, name)
    if "router" in host.roles:
        routers = site.with_role("router")
        variables["router_address"] = host.address
        variables["router_peers"] = [site.hosts[other].address for other in routers if other != name]
        variables["router_vip_priority"] = max(1, 200 - routers.index(name))
    if "zookeeper" in host.roles:
        variables["zookeeper_id"] = next(member.id for member in site.members if member.host == name)
    return variables | firewall.of_host(site, name) | monitoring.of_host(site, name)


def _engine(site: Site, decided: Decisions) -> Vars:
    engine, model = site.engine, site.model
    wheelhouse = decided.wheelhouse or engine.wheelhouse
    inner = engine.nodes > 1 or engine.runtime == "triton"
    late = {
        "engine_weights_digest": decided.weights_digest,
        "engine_build_key": decided.build_key,
        "engine_release": decided.release,
        "engine_settings": dict(decided.settings),
        "engine_wheelhouse": str(wheelhouse) if wheelhouse else "",
        "engine_image": engine.image,
        "engine_inner_ports": engine.inner_ports.model_dump() if inner else None,
    }
    return {
        "weights_model": model.name,
        "weights_version": model.version,
        "weights_source": model.source,
        "engine_runtime": engine.runtime,
        "engine_model": model.name,
        "engine_model_version": model.version,
        "engine_precision": engine.precision,
        "engine_ports": engine.ports.model_dump(),
        "engine_memory_fraction": engine.memory_fraction,
        "engine_devices": engine.devices,
        "engine_context_tokens": engine.context_tokens,
        "engine_batching": engine.batching.model_dump(),
        "engine_start_timeout_s": math.ceil(engine.start_timeout),
        "engine_drain_s": math.ceil(site.rollout.drain),
    } | {name: value for name, value in late.items() if value}


def _router(site: Site, decided: Decisions) -> Vars:
    router = site.router
    return {
        "router_port": router.port,
        "router_models": [site.model.name],
        "router_rate_limit": router.rate_limit.model_dump(),
        "router_max_body_bytes": router.max_body,
        "router_vip": router.vip or "",
        **failover.times(router.failover),
        "router_engines": router_engines(site, decided),
    } | monitoring.router(site)


def router_engines(site: Site, decided: Decisions) -> list[Vars]:
    """Both places of every engine host, so that a switch never adds or removes a server."""
    return [
        {
            "host": name,
            "address": site.hosts[name].address,
            "colour": colour,
            "port": getattr(site.engine.ports, colour),
            "release": _release(name, colour, decided),
            "active": decided.active.get(name) == colour,
        }
        for name in groups.heads(site)
        for colour in COLOURS
    ]


def _release(name: str, colour: str, decided: Decisions) -> str:
    if decided.colours.get(name) == colour:
        return decided.release
    return decided.releases.get(name, {}).get(colour, "")


def _zookeeper(site: Site, decided: Decisions) -> Vars:
    zookeeper = site.zookeeper
    tarball = {
        "zookeeper_tarball_url": zookeeper.tarball_url,
        "zookeeper_tarball_sha512": zookeeper.tarball_sha512,
    }
    return {
        "zookeeper_members": [member._asdict() for member in site.members],
        "zookeeper_source": zookeeper.source,
        "zookeeper_client_port": zookeeper.client_port,
        "zookeeper_peer_port": zookeeper.peer_port,
        "zookeeper_election_port": zookeeper.election_port,
        "zookeeper_heap_mib": zookeeper.heap // 2**20,
    } | {name: value for name, value in tarball.items() if value}


_GROUP_VARS: Mapping[Role, Callable[[Site, Decisions], Vars]] = {
    "engine": lambda site, decided: _engine(site, decided) | fabric.variables(site) | health.variables(site),
    "router": _router,
    "zookeeper": _zookeeper,
    "monitor": lambda site, decided: monitoring.server(site),
}
