"""Ansible module: folders, programs and small files of a router, and a look at the host, in one round trip.

ansible.builtin.copy and file ask the host once or twice for every path; a router's were seven seconds of a run
that changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.dsdeploy_places import Entry, Refused, current, own, settle, wanted

DOCUMENTATION = r"""
module: router_host
short_description: Ensure root-owned folders (0755) and files (0644); say which paths exist and where an address is
options:
  folders: {description: Folders to have., type: list, elements: path, required: true}
  files: {description: Path -> content., type: dict, required: true}
  keep: {description: "Files of which a copy PATH.before-dsdeploy is made, once.", type: list, elements: path}
  look: {description: Paths to look for before anything is written., type: list, elements: path}
  address: {description: "Address of this host, whose network interface is wanted; empty for none.", type: str}
author: [dsdeploy]
"""
RETURN = r"""
found: {description: Those of look that exist., type: list, returned: always}
interface: {description: "Name of the interface that has the address, or empty.", type: str, returned: always}
written: {description: What was made or changed., type: list, returned: always}
"""

SPEC: Dict[str, Any] = {
    "folders": {"type": "list", "elements": "path", "required": True},
    "files": {"type": "dict", "required": True},
    "keep": {"type": "list", "elements": "path", "default": []},
    "look": {"type": "list", "elements": "path", "default": []},
    "address": {"type": "str", "default": ""},
}
KEPT = ".before-dsdeploy"


def text(path: str, odd: str = "replace") -> str:
    """The text of a file, "" where there is none; bytes that are none are `odd`: what can be shown, or written back."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as stream:
        return stream.read().decode(errors=odd)


def shown(content: str) -> str:
    """The same as text that every program can print."""
    return content.encode(errors="surrogateescape").decode(errors="replace")


def stale(entries: List[Entry]) -> List[Entry]:
    """Those that are not what they should be: content, owner, mode or kind. Raises Refused."""
    return [entry for entry in entries if current(entry) != wanted(entry, False)]


def unkept(paths: List[str]) -> Dict[str, str]:
    """Path of each copy that is still to be made -> its content."""
    missing = [path for path in paths if os.path.isfile(path) and not os.path.exists(path + KEPT)]
    return {path + KEPT: text(path, "surrogateescape") for path in missing}


def interface_of(address: str, listing: str) -> str:
    """The interface that has `address`, from the output of `ip -json address`; "" for none."""
    for link in json.loads(listing or "[]"):
        if any(one.get("local") == address for one in link.get("addr_info", [])):
            return str(link["ifname"])
    return ""


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    found = [path for path in given["look"] if os.path.lexists(path)]
    interface = ""
    if given["address"]:
        done = subprocess.run(["ip", "-json", "address"], stdout=subprocess.PIPE, check=False, universal_newlines=True)
        interface = interface_of(given["address"], done.stdout)
    files = {**given["files"], **unkept(given["keep"])}
    try:
        changes = stale([*map(own, given["folders"]), *(own(path, content) for path, content in files.items())])
        diff = [{"before_header": one["path"], "after_header": one["path"], "before": text(one["path"]),
                 "after": shown(one["content"])} for one in changes if "content" in one]  # fmt: skip
        if not module.check_mode:
            for one in changes:
                settle(one)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    written = [one["path"] for one in changes]
    module.exit_json(changed=bool(written), written=written, found=found, interface=interface, diff=diff)


if __name__ == "__main__":
    main()
