#!/usr/bin/python
"""Role module: many folders with owner, group and mode in one round trip; a folder never replaces something else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layout
short_description: Ensure folders exist with owner, group and mode
description:
  - One call for a whole tree, parents first. What is in a folder is never touched.
  - A symbolic link or a file in a folder's place is refused.
options:
  folders:
    description: Folders, in the order in which they are made.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      mode: {description: Octal mode in quotes., type: str, default: "0755"}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Ensure the layout
  layout: {folders: [{path: /srv/dsdeploy}, {path: /var/lib/dsdeploy/tmp, mode: "0700"}]}
"""

RETURN = r"""
made: {description: Folders that were made or corrected., returned: always, type: list, elements: str}
"""

import grp  # noqa: E402
import os  # noqa: E402
import pwd  # noqa: E402
import stat  # noqa: E402
from typing import Dict, Optional  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


class Refused(Exception):
    """Something other than a folder is in a folder's place, or its owner does not exist."""


def wanted(folder: Dict[str, str], check: bool) -> str:
    """``0755 root:root`` for one entry. Raises Refused for an unknown account (in check mode it may yet be made)."""
    try:
        pwd.getpwnam(folder["owner"])
        grp.getgrnam(folder["group"])
    except KeyError as error:
        if not check:
            raise Refused("%s: no such account: %s" % (folder["path"], error)) from error
    return "%04o %s:%s" % (int(folder["mode"], 8), folder["owner"], folder["group"])


def _account(find: object, number: int) -> str:
    try:
        return find(number)[0]  # type: ignore[operator, no-any-return]
    except KeyError:
        return str(number)


def current(path: str) -> Optional[str]:
    """``0755 root:root`` as it is, None when absent. Raises Refused when it is no folder."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"
        raise Refused("%s is %s, not a folder; move it away and run again" % (path, kind))
    owner, group = _account(pwd.getpwuid, found.st_uid), _account(grp.getgrgid, found.st_gid)
    return "%04o %s:%s" % (stat.S_IMODE(found.st_mode), owner, group)


def settle(folder: Dict[str, str]) -> None:
    """Make the folder, or correct its owner and mode. Raises OSError."""
    path = folder["path"]
    if not os.path.isdir(path):
        os.makedirs(path, 0o755)
    os.chown(path, pwd.getpwnam(folder["owner"]).pw_uid, grp.getgrnam(folder["group"]).gr_gid)
    os.chmod(path, int(folder["mode"], 8))


def main() -> None:
    entry = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": "0755"},
    }
    folders = {"type": "list", "elements": "dict", "required": True, "options": entry}
    module = AnsibleModule(argument_spec={"folders": folders}, supports_check_mode=True)
    before, after = {}, {}
    try:
        for folder in module.params["folders"]:
            was, to_be = current(folder["path"]), wanted(folder, module.check_mode)
            if was == to_be:
                continue
            before[folder["path"]], after[folder["path"]] = was or "absent", to_be
            if not module.check_mode:
                settle(folder)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(after), made=sorted(after), diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
