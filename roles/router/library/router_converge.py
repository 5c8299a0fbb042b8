"""Ansible module: have the router's program make HAProxy equal to its files, and fail with its sentence."""

from __future__ import annotations

import json
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: router_converge
short_description: Make the running HAProxy equal to its files
options:
  program: {description: The router's program on this host., type: path, required: true}
author: [dsdeploy]
"""


def outcome(code: int, stdout: str, stderr: str) -> Dict[str, Any]:
    """What Ansible is told: `changed` and `did`, or `failed` with the program's reason in `msg`."""
    try:
        said = json.loads(stdout)
    except ValueError:
        said = {}
    if code == 0 and said:
        return {"changed": said["changed"], "did": said["did"]}
    return {"failed": True, "rc": code, "msg": said.get("failed") or stderr.strip() or f"it ended with {code}"}


def main() -> None:
    spec: Dict[str, Any] = {"program": {"type": "path", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, did=[])
    result = outcome(*module.run_command(["/usr/bin/python3", "-B", module.params["program"], "converge"]))
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
