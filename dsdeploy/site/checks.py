"""What no single field can say: do the parts of a site fit together? Each refusal shows its arithmetic.

Every check looks at the loaded site and yields (address in the file, what, hint);
what it is about, as in ``hosts.gpu1.address:``, is put in front here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dsdeploy.document import Address, Document
from dsdeploy.errors import Problem
from dsdeploy.site import engines, machines, settings
from dsdeploy.site.complaints import dotted, place

if TYPE_CHECKING:
    from dsdeploy.site.model import Site

Check = Callable[["Site"], Iterator[tuple[Address, str, str]]]

# Sections a check cannot do without. "hosts" stands only where one host more would change
# the answer: a faulty host is set aside, the others are still compared with each other.
_CHECKS: tuple[tuple[Check, tuple[str, ...]], ...] = (
    (machines.names, ()),
    (machines.addresses, ()),
    (machines.doubled_roles, ()),
    (machines.roles, ("hosts",)),
    (machines.members, ("hosts",)),
    (machines.member_ids, ()),
    (settings.ports, ("ssh", "engine", "zookeeper", "router", "monitor")),
    (settings.devices, ("engine", "stack")),
    (engines.precision, ("engine",)),
    (engines.place, ("engine", "stack")),
    (engines.nodes, ("hosts", "engine")),
    (settings.batching, ("engine",)),
    (settings.vip, ("router",)),
    (settings.firewall, ("hosts", "firewall")),
    (settings.tarball, ("zookeeper",)),
    (settings.canary, ("hosts", "rollout")),
    (settings.monitor, ("hosts", "monitor")),
)


def problems(site: Site, document: Document, broken: frozenset[str] = frozenset()) -> list[Problem]:
    """Everything that does not fit together; checks that read a broken section are left out."""
    return [
        Problem(f"{dotted(at)}: {what}", document.where(at, key=_is_host(at)), hint)
        for check, sections in _CHECKS
        if not broken.intersection(sections)
        for at, what, hint in check(site)
    ]


def partial(error: ValidationError, document: Document, model: type[Site]) -> list[Problem]:
    """The same for a file with faulty values: those are set aside, what is sound is checked all the same."""
    data = document.data
    if not isinstance(data, dict):
        return []
    bad = {place(detail) for detail in error.errors(include_url=False)}
    broken = {str(address[0]) for address in bad if address}
    sound = {key: value for key, value in data.items() if key in model.model_fields and key not in broken}
    machines = data.get("hosts")
    if "hosts" in broken and isinstance(machines, dict):
        faulty = {address[1] for address in bad if address[0] == "hosts" and len(address) > 1}
        sound["hosts"] = {name: host for name, host in machines.items() if name not in faulty}
    if not sound.get("hosts"):
        return []
    stand_in = {"site": "x", "stack": "cpu", "model": {"name": "x", "version": "x", "source": "/x"}}
    try:
        site = model.model_validate(stand_in | sound)
    except ValidationError:  # the file is too far from a site for its parts to be compared
        return []
    return problems(site, document, frozenset(broken))


def _is_host(address: Address) -> bool:
    return len(address) <= 2 and address[:1] == ("hosts",)
