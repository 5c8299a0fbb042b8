#!/usr/bin/python
"""Role module: waits until a member serves; tells 'cannot yet, the others are not up' from 'does not'."""

from __future__ import annotations

DOCUMENTATION = r"""
module: member_wait
short_description: Wait until this ZooKeeper member serves
description:
  - Asks C(srvr), as the gates do; a member serves when it answers with a mode.
  - With fewer than a majority of the members running, nobody can serve, and waiting would not help.
options:
  id: {description: This member's number., type: int, required: true}
  members:
    description: Every member of the ensemble.
    type: list
    elements: dict
    required: true
    suboptions:
      id: {description: Number., type: int, required: true}
      host: {description: Name., type: str, required: true}
      address: {description: Address., type: str, required: true}
  port: {description: Client port., type: int, required: true}
  limit: {description: Seconds to wait., type: int, required: true}
  alone: {description: Whether too few running members are acceptable., type: bool, required: true}
author: [dsdeploy]
"""

EXAMPLES = r"""
- name: Wait until it serves
  member_wait: {id: 1, members: "{{ zookeeper_members }}", port: 2181, limit: 90, alone: false}
"""

RETURN = r"""
mode: {description: Mode in which it serves., returned: always, type: str}
serving: {description: Whether it serves., returned: always, type: bool}
"""

import time  # noqa: E402
from typing import Any, Callable, Dict, List, Optional, Tuple  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_srvr import SERVING, ask, mode, up  # noqa: E402

# how long fewer than a majority may be seen before it is taken as so: members started by the same play come up apart
PATIENCE = 20.0


def wait(
    own: str,
    others: List[str],
    port: int,
    limit: float,
    alone: bool,
    query: Callable[[str, int], Optional[str]] = ask,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Tuple[str, int]:
    """The member's mode when it serves or waiting ends, and how many members were running when it ended."""
    start = clock()
    majority = (len(others) + 1) // 2 + 1
    while True:
        found = mode(query(own, port))
        if found in SERVING:
            return found, 1
        running = up([found] + [mode(query(address, port)) for address in others])
        spent = clock() - start
        hopeless = alone and found != "down" and running < majority and spent >= PATIENCE
        if spent >= limit or hopeless:
            return found, running
        rest(0.5)


def verdict(found: str, running: int, total: int, limit: int, alone: bool) -> Dict[str, Any]:
    """Module result for a member that ended `found` with `running` of `total` members up."""
    majority = total // 2 + 1
    result: Dict[str, Any] = {"changed": False, "mode": found, "serving": found in SERVING}
    if result["serving"]:
        return result
    if alone and found != "down" and running < majority:
        result["msg"] = "runs, but %d of %d members are up and %d are needed to serve" % (running, total, majority)
        return result
    state = "does not answer" if found == "down" else "answers, but is not in the quorum"
    seen = "%d of %d members up, %d needed" % (running, total, majority)
    result["failed"] = True
    cure = "journalctl -u zookeeper -n 50"
    result["msg"] = "the member %s after %d s (%s); try: %s" % (state, limit, seen, cure)
    return result


def main() -> None:
    member = {
        "id": {"type": "int", "required": True},
        "host": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "int", "required": True},
            "members": {"type": "list", "elements": "dict", "required": True, "options": member},
            "port": {"type": "int", "required": True},
            "limit": {"type": "int", "required": True},
            "alone": {"type": "bool", "required": True},
        }
    )
    given = module.params
    addresses = {member["id"]: member["address"] for member in given["members"]}
    own = addresses.pop(given["id"])
    found, running = wait(own, list(addresses.values()), given["port"], given["limit"], given["alone"])
    result = verdict(found, running, len(given["members"]), given["limit"], given["alone"])
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
