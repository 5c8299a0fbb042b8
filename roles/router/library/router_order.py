"""Ansible module: give the router's program an order, and fail with its sentence."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: router_order
short_description: Give the router's program on this host an order
options:
  program: {description: The router's program on this host., type: path, required: true}
  words: {description: The order; its verb and what belongs to it., type: list, elements: str, required: true}
author: [dsdeploy]
"""


def outcome(code: int, stdout: str, stderr: str) -> Dict[str, Any]:
    """What Ansible is told: `changed`, `did` and `report`, or `failed` with the program's reason in `msg`."""
    try:
        said = json.loads(stdout)
    except ValueError:
        said = {}
    if code == 0 and said:
        return {"changed": said["changed"], "did": said["did"], "report": {"cut": said.get("cut", 0)}}
    return {"failed": True, "rc": code, "msg": said.get("failed") or stderr.strip() or f"it ended with {code}"}


def main() -> None:
    spec: Dict[str, Any] = {
        "program": {"type": "path", "required": True},
        "words": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, did=[])
    command = [sys.executable, "-B", module.params["program"], *module.params["words"]]
    result = outcome(*module.run_command(command))
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
