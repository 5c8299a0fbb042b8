"""Which hosts are one engine. With `engine.nodes: 1`, as almost everywhere, each is one by itself.

The first host of a group is its head: it has rank 0, answers requests, and is all that routers know of it.
A group is started, drained, stopped and switched as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dsdeploy.site import Site

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """Hosts of one engine, in the order of their ranks."""

    hosts: tuple[str, ...]

    @property
    def head(self) -> str:
        return self.hosts[0]


def groups(site: Site) -> tuple[Group, ...]:
    """Engine hosts in file order, `engine.nodes` at a time."""
    names, size = site.with_role("engine"), site.engine.nodes
    return tuple(Group(names[start : start + size]) for start in range(0, len(names), size))


def heads(site: Site) -> tuple[str, ...]:
    """The hosts that answer requests."""
    return tuple(group.head for group in groups(site))


def group(site: Site, host: str) -> Group:
    """The engine a host belongs to. Raises KeyError for a host without an engine."""
    for found in groups(site):
        if host in found.hosts:
            return found
    raise KeyError(host)


def whole(site: Site, hosts: Iterable[str]) -> tuple[str, ...]:
    """These hosts and all that are one engine with them, in file order."""
    wanted = set(hosts)
    return tuple(name for found in groups(site) if wanted & set(found.hosts) for name in found.hosts)


def spread(site: Site, by_head: Mapping[str, T]) -> dict[str, T]:
    """What is true of a head, for every host of its engine; hosts that are no head keep what they have."""
    if site.engine.nodes == 1:
        return dict(by_head)
    return {
        name: by_head[found.head] if found.head in by_head else by_head[name]
        for found in groups(site)
        for name in found.hosts
        if found.head in by_head or name in by_head
    }
