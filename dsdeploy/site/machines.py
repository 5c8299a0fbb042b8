"""Do the machines of a site fit together: names, addresses, roles, the ensemble's arithmetic?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsdeploy.document import Address
from dsdeploy.site.places import ip

if TYPE_CHECKING:
    from dsdeploy.site.model import Site

Finding = tuple[Address, str, str]

_RESERVED = {"all", "ungrouped", "localhost", "engine", "router", "zookeeper", "monitor"}
_NEEDED = {
    "engine": "nothing would compute tokens",
    "router": "clients would have no way in",
    "zookeeper": "the lock and the registry of releases live there",
}


def names(site: Site) -> Iterator[Finding]:
    """Names that Ansible takes for groups, and names that differ only in case."""
    seen: dict[str, str] = {}
    for name in site.hosts:
        at = ("hosts", name)
        if name.lower() in _RESERVED:
            yield at, "this name means a group of hosts to Ansible", f"choose another, such as {name}1"
        if first := seen.get(name.lower()):
            yield at, f"differs from {first} only in case", "choose another name"
        seen.setdefault(name.lower(), name)


def addresses(site: Site) -> Iterator[Finding]:
    """One machine under two names, however its address is spelled; addresses only it itself knows."""
    seen: dict[str, str] = {}
    for name, host in site.hosts.items():
        at = ("hosts", name, "address")
        literal = ip(host.address)
        same = str(literal) if literal else host.address.lower()
        if first := seen.get(same):
            other = site.hosts[first].address
            spelling = f", written {other}" if other != host.address else ""
            yield at, f"{host.address} is the address of {first} already{spelling}", "one machine, one name"
        seen.setdefault(same, name)
        if len(site.hosts) > 1 and (same == "localhost" or (literal and literal.is_loopback)):
            what = f"{host.address} is another machine to each of the {len(site.hosts)} hosts"
            yield at, what, "write the address the others reach it by"


def roles(site: Site) -> Iterator[Finding]:
    """Roles a site cannot do without."""
    for role, why in _NEEDED.items():
        if not any(role in host.roles for host in site.hosts.values()):
            what = f"0 of {len(site.hosts)} have the role {role}: {why}"
            yield ("hosts",), what, f"add {role} to a host's roles"


def doubled_roles(site: Site) -> Iterator[Finding]:
    """A role named twice on one host."""
    for name, host in site.hosts.items():
        for index, role in enumerate(host.roles):
            if role in host.roles[:index]:
                yield ("hosts", name, "roles", index), f"{role} is there twice", "name it once"


def members(site: Site) -> Iterator[Finding]:
    """Even ensembles: the last member adds a machine to lose and no failure to survive."""
    names = site.with_role("zookeeper")
    count = len(names)
    if not count or count % 2:
        return
    majority = count // 2 + 1
    spare = count - majority
    failures = f"{spare} failure" + ("s" if spare != 1 else "")
    what = f"{count} zookeeper members: majority {majority}, tolerates {failures}, the same as {count - 1}"
    yield ("hosts", names[-1], "roles"), what, "use 1, 3 or 5 members"


def member_ids(site: Site) -> Iterator[Finding]:
    """Numbers given twice, or to a host that is no member."""
    owners: dict[int, str] = {}
    for name, host in site.hosts.items():
        number = host.zookeeper_id
        at = ("hosts", name, "zookeeper_id")
        if number is None:
            continue
        if "zookeeper" not in host.roles:
            yield at, f"{name} does not have the role zookeeper", "remove it, or add the role"
        elif number in owners:
            yield at, f"{number} is the number of {owners[number]} already", "give each member its own"
        owners.setdefault(number, name)
