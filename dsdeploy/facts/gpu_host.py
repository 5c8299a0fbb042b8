"""Where a fact about GPUs means something: on engine hosts of a site whose stack has a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdeploy.site import Site


def arguments(site: Site, host: str) -> dict[str, Any] | None:
    """No arguments there, None elsewhere."""
    return {} if site.stack != "cpu" and "engine" in site.hosts[host].roles else None
