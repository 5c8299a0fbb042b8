"""What the role firewall gets from a site file. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any

from dsdeploy.site.places import ip

if TYPE_CHECKING:
    from dsdeploy.site import Site

Vars = dict[str, Any]
Range = IPv4Network | IPv6Network


def every(site: Site) -> Vars:
    """Who may reach everything, on any host; the role's default, nobody, filters nothing."""
    return {} if site.firewall is None else {"firewall_allow": [str(network) for network in allowed(site)]}


def of_host(site: Site, name: str) -> Vars:
    """Ports of this host that are for everybody."""
    if site.firewall is None or "router" not in site.hosts[name].roles:
        return {}
    return {"firewall_open_ports": [site.router.port]}


def allowed(site: Site) -> list[Range]:
    """The operator's networks and the site's own hosts, each address once: nft refuses ranges that overlap.

    Hosts known by name only do not get here: the checks of the site file refuse them beside a firewall.
    """
    if site.firewall is None:
        return []
    hosts = [ip_network(literal) for host in site.hosts.values() if (literal := ip(host.address))]
    named = [ip_network(text) for text in site.firewall.allow] + hosts
    four = collapse_addresses(network for network in named if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in named if isinstance(network, IPv6Network))
    return [*four, *six]


def reaches(site: Site, address: str) -> bool:
    """Whether connections from this address would get through to every port."""
    literal = ip(address)
    return site.firewall is None or (literal is not None and any(literal in network for network in allowed(site)))
