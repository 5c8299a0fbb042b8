"""Where a fact about the fabric means something: on the engine hosts of a site that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdeploy.site import Site


def arguments(site: Site, host: str) -> dict[str, Any] | None:
    """No arguments there, None elsewhere."""
    return {} if site.fabric is not None and "engine" in site.hosts[host].roles else None
