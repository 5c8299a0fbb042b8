"""up, down, status: the lab as a whole."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsdeploy import paths
from dsdeploy.lab import access, boot, image, kernel, leases, machines, mirror, network, record
from dsdeploy.lab.image import Step
from dsdeploy.lab.layout import Layout, Machine, layout
from dsdeploy.lab.machines import Action, Container, Wanted
from dsdeploy.lab.podman import LAB, Podman, prepare
from dsdeploy.lab.probe import look, refusal
from dsdeploy.lab.record import Record
from dsdeploy.site import Site

ENGINES = ("podman", "docker")


@dataclass(frozen=True)
class State:
    """One machine as found. `state`: running, exited, stale (not what the site asks for), absent…"""

    machine: Machine
    state: str
    answers: bool


def open_podman(engine: str, *, builds: bool) -> Podman:
    """The container program, ready for use. Raises LabError where a lab cannot run."""
    probe = look(engine)
    if error := refusal(probe, builds=builds):
        raise error
    return prepare(probe, paths.cache_dir("lab"))


def up(site: Site, *, images: Mapping[str, str], engine: str, step: Step) -> tuple[Layout, tuple[Action, ...]]:
    """Make the site's lab be there and answer; what is right already is left alone.

    `images`: host -> image of the user's own, "" -> the one of all others, as image.chosen gives them.
    """
    lab = layout(site)
    podman = open_podman(engine, builds="" not in images)
    cache = paths.cache_dir("lab")
    with record.alone(cache, step):
        _claim(podman, lab, step)
        work = paths.work_dir(site.file, site.site)
        notes = record.load(work)
        notes.engine = engine
        wanted = _wanted(site, lab, work, notes, podman, images, step)
        actions, surplus = machines.decide(podman, lab, wanted, machines.find(podman, lab.name), notes.prepared)
        _make_room(podman, lab, actions, surplus, site.file, step)
        _boot(podman, site, lab, work, notes, actions, step)
    return lab, actions


def _identity(site: Site, work: Path, notes: Record) -> str:
    """The public key that machines accept; makes the pair where there is none, and notes that it is ours."""
    identity, known_hosts = site.ssh.identity, site.ssh.known_hosts
    assert identity is not None and known_hosts is not None  # layout() has refused anything else
    made = [path for path in (identity, identity.with_name(f"{identity.name}.pub"), known_hosts) if not path.exists()]
    notes.made = sorted({*notes.made, *(str(path) for path in made)})
    record.save(work, notes)
    if not identity.exists():
        access.make_identity(identity, f"dsdeploy lab {site.site}")
    return access.public_key(identity)


def _wanted(
    site: Site, lab: Layout, work: Path, notes: Record, podman: Podman, images: Mapping[str, str], step: Step
) -> list[Wanted]:
    """Every machine with what it is made from: keys, images and the mirror's files are there afterwards."""
    public, site_file = _identity(site, work, notes), str(site.file)
    cache = paths.cache_dir("lab")
    base = image.host_image(podman, images.get("", ""), cache, step)
    own = {host: image.host_image(podman, name, cache, step) for host, name in images.items() if host}
    hosts = [
        Wanted(machine, own.get(machine.name, base), public, site_file)
        for machine in lab.machines
        if not machine.mirror
    ]
    if lab.mirror is None:
        return hosts
    root = work / "mirror"
    if not root.exists() or not notes.mirror_token:  # a folder made anew is not the one the container holds
        root.mkdir(exist_ok=True)
        notes.mirror_token = secrets.token_hex(4)
        record.save(work, notes)
    mirror.fill(root, lab.folder, mirror.original(paths.cache_dir("models"), step))
    tag = image.mirror_image(podman, base, step)
    return [*hosts, Wanted(lab.mirror, tag, public, site_file, str(root), notes.mirror_token)]


def _claim(podman: Podman, lab: Layout, step: Step) -> None:
    """See that the lab's addresses are free, before anything is made. A lab without its site file gives way."""
    known = network.read(podman)
    gone = [net for net in known if net.abandoned and net.lab != lab.name and net.overlaps(lab.subnet)]
    for net in gone:
        with step(f"the lab {net.lab}, whose site file {net.site_file} is gone, is taken down"):
            machines.remove(podman, [container.name for container in machines.find(podman, net.lab)])
            network.remove(podman, net.name)
    network.require_free(podman, lab, [net for net in known if net not in gone])


def _make_room(
    podman: Podman,
    lab: Layout,
    actions: Sequence[Action],
    surplus: Sequence[Container],
    site_file: Path,
    step: Step,
) -> None:
    """Take away what is stale; then the lab's own network stands."""
    stale = [action.wanted.machine.container for action in actions if action.verb == "replace"]
    stale += [container.name for container in surplus]
    if stale:
        with step(f"stale machines removed: {', '.join(stale)}"):
            machines.remove(podman, stale)
    right = network.Network(lab.network, (lab.subnet,), lab.name, str(site_file))
    own = next((net for net in network.read(podman) if net.name == lab.network), None)
    if own and own != right:
        network.remove(podman, lab.network)
    if own != right:
        network.create(podman, lab, site_file)
    leases.forget_stale(podman)


def _boot(
    podman: Podman, site: Site, lab: Layout, work: Path, notes: Record, actions: Sequence[Action], step: Step
) -> None:
    new = [action for action in actions if action.verb != "reuse"]
    if new:
        if kernel.remember():
            kernel.widen()
        names = ", ".join(action.wanted.machine.name for action in new)
        with step(f"machines booted on {lab.subnet}: {names}") as said:
            notes.prepared |= boot.bring_up(podman, lab, new, said)
            boot.wait(lab.machines, podman)
    found = machines.find(podman, lab.name)
    notes.prepared = {item.id: notes.prepared[item.id] for item in found if item.id in notes.prepared}
    keys = {item.machine: notes.prepared[item.id] for item in found if item.id in notes.prepared}
    record.save(work, notes)
    known_hosts = site.ssh.known_hosts
    assert known_hosts is not None
    before = known_hosts.read_text() if known_hosts.exists() else ""
    hosts = {machine.address: keys[machine.name] for machine in lab.machines if not machine.mirror}
    access.write(known_hosts, access.merged(before, hosts))


def down(site: Site, *, engine: str, step: Step) -> list[str]:
    """Take the lab away, with everything it made. Returns kernel settings that were put back."""
    work = paths.work_dir(site.file, site.site)
    notes = record.load(work)
    _tidy(work)
    podman = open_podman(engine or notes.engine, builds=False)
    name = f"dsdeploy-{site.site}"
    restored: list[str] = []
    with record.alone(paths.cache_dir("lab"), step), step(f"lab {site.site} taken down"):
        machines.remove(podman, [container.name for container in machines.find(podman, site.site)])
        if any(net.name == name and net.lab == site.site for net in network.read(podman)):
            network.remove(podman, name)
        _forget(site, work, notes)
        if not podman.words("ps", "-aq", "--filter", f"label={LAB}"):
            restored = kernel.put_back()
    return restored


def _forget(site: Site, work: Path, notes: Record) -> None:
    """The files the lab made, and only those; logs of runs stay."""
    known_hosts = site.ssh.known_hosts
    if known_hosts and known_hosts.exists():
        access.write(known_hosts, access.without(known_hosts.read_text(), (h.address for h in site.hosts.values())))
    for path in map(Path, notes.made):
        if path != known_hosts or (path.exists() and not path.read_text()):
            path.unlink(missing_ok=True)
    mirror.empty(work / "mirror")
    (work / record.FILE).unlink(missing_ok=True)
    _tidy(work)


def _tidy(work: Path) -> None:
    """No empty folder stays behind."""
    for folder in (work, work.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def status(site: Site, *, engine: str) -> tuple[Layout, Podman, list[State]]:
    """Every machine of the site's lab, as it is; nothing is changed."""
    lab = layout(site)
    work = paths.work_dir(site.file, site.site)
    notes = record.load(work)
    _tidy(work)
    podman = open_podman(engine or notes.engine, builds=False)
    found = {container.machine: container for container in machines.find(podman, lab.name)}
    return lab, podman, [_state(machine, found.get(machine.name), notes) for machine in lab.machines]


def _state(machine: Machine, found: Container | None, notes: Record) -> State:
    if found is None:
        return State(machine, "absent", False)
    if found.id not in notes.prepared:
        return State(machine, "stale", False)
    return State(machine, found.state, found.running and boot.answers(machine))


def restart(site: Site, host: str, *, engine: str, step: Step) -> None:
    """Restart one machine, as a reboot would, and wait until it answers."""
    lab = layout(site)
    machine = next((machine for machine in lab.machines if machine.name == host), None)
    if machine is None:
        raise access.no_such_host(site, host)
    work = paths.work_dir(site.file, site.site)
    podman = open_podman(engine or record.load(work).engine, builds=False)
    _tidy(work)
    with step(f"{host} restarted"):
        podman.text("restart", machine.container)
        boot.wait([machine], podman)
