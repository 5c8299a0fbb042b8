#!/usr/bin/python
"""Role module: accounts, folders, files and links in one round trip, in that order."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layout
short_description: Ensure accounts, folders, files and links
description:
  - One call for everything a role stands on. Accounts come first, then folders, files, links, each in the order given.
  - A folder that is there keeps what is in it; a symbolic link or a file in a folder's place is refused.
  - A file is replaced whole or not at all; content, owner and mode become so together.
options:
  accounts:
    description: System users without a login, each with a group of the same name. A new one has no password.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of user and group., type: str, required: true}
      comment: {description: What it is for., type: str, required: true}
      home: {description: Home as recorded; it is not made., type: path, required: true}
  folders:
    description: Folders, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      mode: {description: Octal mode in quotes., type: str, default: "0755"}
  files:
    description: Files, in folders that are there by then.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The whole content., type: str, required: true}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      mode: {description: Octal mode in quotes., type: str, default: "0644"}
  links:
    description: Symbolic links. Only a link is replaced by one, in one rename; whom a link belongs to does not matter.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      target: {description: What it names., type: path, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Ensure the layout
  layout:
    accounts: [{name: x, comment: X, home: /var/lib/x}]
    folders: [{path: /etc/x}, {path: /var/lib/x, owner: x, group: x, mode: "0700"}]
    files: [{path: /etc/x/x.conf, content: "a = b\n"}]
"""

RETURN = r"""
made: {description: Users and paths that were made or corrected., returned: always, type: list, elements: str}
"""

from typing import Any, Dict, List  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_accounts import current as current_account  # noqa: E402
from ansible.module_utils.dsdeploy_accounts import steps  # noqa: E402
from ansible.module_utils.dsdeploy_accounts import wanted as wanted_account  # noqa: E402
from ansible.module_utils.dsdeploy_places import Refused, current, settle, wanted  # noqa: E402


def change(subject: str, before: Any, after: Any) -> Dict[str, Any]:
    """One entry of the diff, named after the user or the path."""
    shown = "absent\n" if before is None else before
    return {"before_header": subject, "after_header": subject, "before": shown, "after": after}


def ensure_account(module: AnsibleModule, account: Dict[str, str]) -> List[Dict[str, Any]]:
    """Run what the account needs; the change that was made, or would be."""
    needed = steps(account)
    if not needed:
        return []
    made = change(account["name"], current_account(account["name"]), wanted_account(account))
    for command in [] if module.check_mode else needed:
        code, _, error = module.run_command([module.get_bin_path(command[0], required=True), *command[1:]])
        if code != 0:
            module.fail_json(msg="%s: %s" % (" ".join(command), error.strip() or "exit code %d" % code))
    return [made]


def ensure_place(module: AnsibleModule, entry: Dict[str, str]) -> List[Dict[str, Any]]:
    """Make or correct one folder, file or link; the change that was made, or would be. Raises Refused and OSError."""
    was, to_be = current(entry), wanted(entry, module.check_mode)
    if was == to_be:
        return []
    if not module.check_mode:
        settle(entry)
        module.set_default_selinux_context(entry["path"], False)
    return [change(entry["path"], was, to_be)]


def main() -> None:
    text, path = {"type": "str", "required": True}, {"type": "path", "required": True}
    root, listed = {"type": "str", "default": "root"}, {"type": "list", "elements": "dict", "default": []}
    owned = {"path": path, "owner": root, "group": root}
    folder, file = {"type": "str", "default": "0755"}, {"type": "str", "default": "0644"}
    module = AnsibleModule(
        argument_spec={
            "accounts": {**listed, "options": {"name": text, "comment": text, "home": path}},
            "folders": {**listed, "options": {**owned, "mode": folder}},
            "files": {**listed, "options": {**owned, "mode": file, "content": text}},
            "links": {**listed, "options": {"path": path, "target": path}},
        },
        supports_check_mode=True,
    )
    changes = []
    try:
        for account in module.params["accounts"]:
            changes += ensure_account(module, account)
        for entry in module.params["folders"] + module.params["files"] + module.params["links"]:
            changes += ensure_place(module, entry)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    made = [entry["after_header"] for entry in changes]
    module.exit_json(changed=bool(changes), made=made, **({"diff": changes} if module._diff else {}))


if __name__ == "__main__":
    main()
