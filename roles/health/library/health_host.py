"""Ansible module: folders and files of the health timer, in one round trip. Its files come with the action plugin.

The report of GPUs needs NVIDIA's pynvml, a single file of 330 kB: the host is told its digest first and asked for
nothing more while it has it.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.dsdeploy_places import Refused, current, own, settle, wanted

DOCUMENTATION = r"""
module: health_host
short_description: Ensure folders (0755) and root-owned files (0644) of the health timer
options:
  folders: {description: Folders to have., type: list, elements: path, required: true}
  present: {description: Folders to make where they are missing; owners are left alone., type: list, elements: path}
  digests: {description: Path -> SHA-256 of its content., type: dict, required: true}
  files: {description: Path -> content; of those that are to be written., type: dict, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
stale: {description: Files that are not right and whose content was not given., type: list, returned: always}
written: {description: What was made or changed., type: list, returned: always}
"""

SPEC: Dict[str, Any] = {
    "folders": {"type": "list", "elements": "path", "required": True},
    "present": {"type": "list", "elements": "path", "default": []},
    "digests": {"type": "dict", "required": True},
    "files": {"type": "dict", "required": True},
}


def stale(digests: Dict[str, str]) -> List[str]:
    """Paths whose content, owner, mode or kind is not what it should be. Raises Refused."""
    found = []
    for path, digest in digests.items():
        head, now = wanted(own(path, ""), False), current(own(path, "")) or ""
        if not now.startswith(head) or hashlib.sha256(now[len(head) :].encode()).hexdigest() != digest:
            found.append(path)
    return found


def missing(folders: List[str], present: List[str]) -> List[str]:
    """Folders that are not ours as they should be, and those of others that are not there at all. Raises Refused."""
    wrong = [path for path in folders if current(own(path)) != wanted(own(path), False)]
    return wrong + [path for path in present if not os.path.isdir(path)]


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    try:
        folders, wrong = missing(given["folders"], given["present"]), stale(given["digests"])
        ready = [path for path in wrong if path in given["files"]]
        if not module.check_mode and (ready or not wrong):
            for path in folders:
                settle(own(path))
            for path in ready:
                settle(own(path, given["files"][path]))
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    left = [path for path in wrong if path not in ready]
    module.exit_json(changed=bool(folders or wrong), written=[*folders, *ready], stale=left)


if __name__ == "__main__":
    main()
