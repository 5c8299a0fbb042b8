"""Which engines run on a host: what they use must not change under them."""

from __future__ import annotations

from typing import List

from ansible.module_utils.basic import AnsibleModule


class Unknown(Exception):
    """systemd does not say what runs; its words are the message."""


def running(module: AnsibleModule, units: List[str]) -> List[str]:
    """Those of these units (names and patterns) that run; none where there is no systemd. Raises Unknown."""
    program = module.get_bin_path("systemctl")
    if not units or not program:
        return []
    words = [program, "list-units", "--no-legend", "--plain", "--state=active,activating", *units]
    code, out, err = module.run_command(words)
    if code != 0:
        raise Unknown("whether an engine runs cannot be told, systemctl: %s" % (err.strip() or "exit code %d" % code))
    return [line.split()[0] for line in out.splitlines() if line.split()]
