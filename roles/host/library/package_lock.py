#!/usr/bin/python
"""Role module: waits, with a bound, until no package manager holds its lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_lock
short_description: Wait until no package manager is at work
description: Changes nothing. Fails after the given time with the holder's name and pid.
options:
  wait: {description: Seconds to wait., type: int, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Wait for the package lock
  package_lock: {wait: 60}
"""

RETURN = r"""
msg: {description: Who holds which lock and what to try., returned: failure, type: str}
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_package_lock import complaint, wait  # noqa: E402


def main() -> None:
    module = AnsibleModule(argument_spec={"wait": {"type": "int", "required": True}}, supports_check_mode=True)
    limit = 0 if module.check_mode else module.params["wait"]
    found = wait(limit)
    if found is not None:
        module.fail_json(msg=complaint(found, limit))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
