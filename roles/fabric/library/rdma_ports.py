#!/usr/bin/python
"""Role module: reads the ports of RDMA hardware until enough of them are up, and changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_ports
short_description: Read RDMA ports and wait until enough of them are up
description:
  - Changes nothing. Soft devices (rxe, siw) are never counted, whatever state and rate they show.
  - A port with a link waits for its subnet manager; one without a link is not waited for.
options:
  rate: {description: Gb/s a port must run at; 0 for any., type: int, default: 0}
  least: {description: Ports that must be up., type: int, default: 1}
  exclude: {description: Devices that are not counted., type: list, elements: str, default: []}
  wait: {description: Seconds to wait for ports that have a link., type: int, default: 0}
  root: {description: Where sysfs is., type: path, default: /sys}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Eight ports at 400 Gb/s
  rdma_ports: {rate: 400, least: 8, wait: 60}
"""

RETURN = r"""
ports:
  description: One for each port, with device, port, hardware, state, physical, rate, link, gid (RoCE v2) and errors.
  returned: always
  type: list
  elements: dict
"""

import re  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Dict, List  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_fabric_kind import hardware  # noqa: E402

TOLD = ("parent", "node_desc", "hca_type", "board_id")
ERRORS = ("symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors", "port_xmit_discards")


def said(path: Path) -> str:
    """A line of sysfs, empty where it is not there or the kernel refuses."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def device(path: Path, root: Path) -> Dict[str, str]:
    """What tells hardware from soft, as the controller's fact reads it."""
    told = {name: text for name in TOLD if (text := said(path / name))}
    real = path.resolve()
    told["path"] = "/sys/" + str(real.relative_to(root.resolve())) if root.resolve() in real.parents else str(real)
    for name, link in (("bus", path / "device" / "subsystem"), ("driver", path / "device" / "driver")):
        if link.exists():
            told[name] = link.resolve().name
    return told


def gid(port: Path) -> int:
    """Index of the RoCE v2 address made of an IPv4 one; -1 without."""
    found = [
        int(path.name)
        for path in (port / "gids").glob("*")
        if "ffff:" in said(path) and said(port / "gid_attrs" / "types" / path.name) == "RoCE v2"
    ]
    return min(found) if found else -1


def word(text: str) -> str:
    return text.partition(":")[2].strip().lower()


def ports(root: Path) -> List[Dict[str, Any]]:
    """Every port there is, soft ones marked as such."""
    found = []
    for path in sorted((root / "class" / "infiniband").glob("*")):
        real = hardware(path.name, device(path, root))
        for port in sorted((path / "ports").glob("*")):
            rate = re.match(r"[0-9.]+", said(port / "rate"))
            found.append({
                "device": path.name, "port": int(port.name), "hardware": real,
                "state": word(said(port / "state")), "physical": word(said(port / "phys_state")),
                "rate": float(rate.group()) if rate else 0.0, "link": said(port / "link_layer").lower(),
                "gid": gid(port),
                "errors": {name: int(said(port / "counters" / name) or 0) for name in ERRORS},
            })  # fmt: skip
    return found


def usable(port: Dict[str, Any], rate: int) -> bool:
    return bool(port["hardware"] and port["state"] == "active" and port["rate"] >= rate)


def why(port: Dict[str, Any], rate: int) -> str:
    name = f"{port['device']} port {port['port']}"
    if not port["hardware"]:
        return f"{name} is a soft device, no hardware"
    if port["physical"] != "linkup":
        return f"{name} has no link ({port['physical'] or 'unknown'})"
    if port["state"] != "active":
        return f"{name} has a link and is {port['state']}: no subnet manager has set it up"
    return f"{name} runs at {port['rate']:g} Gb/s" if port["rate"] < rate else ""


def main() -> None:
    spec = {
        "rate": {"type": "int", "default": 0},
        "least": {"type": "int", "default": 1},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "int", "default": 0},
        "root": {"type": "path", "default": "/sys"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = module.params
    end = time.monotonic() + given["wait"]
    while True:
        found = [port for port in ports(Path(given["root"])) if port["device"] not in given["exclude"]]
        good = [port for port in found if usable(port, given["rate"])]
        linked = [port for port in found if port["hardware"] and port["physical"] == "linkup"]
        if len(good) >= given["least"] or len(linked) < given["least"] or time.monotonic() >= end:
            break
        time.sleep(1)
    if len(good) < given["least"]:
        speed = f" of {given['rate']} Gb/s" if given["rate"] else ""
        whys = "; ".join(filter(None, (why(port, given["rate"]) for port in found))) or "there is no RDMA device"
        module.fail_json(msg=f"{len(good)} of {given['least']} RDMA ports{speed} are up; {whys}", ports=found)
    module.exit_json(changed=False, ports=found)


if __name__ == "__main__":
    main()
