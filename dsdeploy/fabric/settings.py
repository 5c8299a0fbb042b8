"""What the role of the fabric is told. Pure, and loads nothing of the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdeploy.site import Site


def variables(site: Site) -> dict[str, Any]:
    """What every engine host gets alike; nothing for a site without a fabric: its play does not run."""
    wanted = site.fabric
    if wanted is None:
        return {}
    ofed = wanted.ofed.model_dump() if wanted.ofed else {}
    return {
        "fabric_rate": wanted.rate,
        "fabric_ports": wanted.ports,
        "fabric_peer_memory": wanted.peer_memory,
        "fabric_exclude": list(wanted.exclude),
    } | {f"fabric_ofed_{name}": value for name, value in ofed.items()}
