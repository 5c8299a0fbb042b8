#!/usr/bin/python
"""Role module: one password, as a bcrypt hash for web.yml and in clear for the one who scrapes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_secret
short_description: Ensure the password of the monitoring programs
description:
  - Writes web.yml with a bcrypt hash, which stays as it is while it fits the password, and the password for Prometheus.
options:
  password: {description: At least 12 characters., type: str, required: true}
  user: {description: Name it belongs to., type: str, required: true}
  web: {description: The file for the servers., type: path, required: true}
  clear: {description: The file for the client; without it none is written., type: path, default: ""}
  group: {description: Who may read both., type: str, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Ensure the password
  monitor_secret: {password: "{{ secret }}", user: dsdeploy, web: /etc/x/web.yml, group: prometheus}
"""

RETURN = r"""
made: {description: Files that were written., returned: always, type: list, elements: str}
web_flag: {description: How this node_exporter names the option for web.yml., returned: always, type: str}
"""

import base64  # noqa: E402
import ctypes  # noqa: E402
import ctypes.util  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
from typing import List, Optional  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_places import Refused, current, settle, wanted  # noqa: E402

SHORTEST = 12
ALPHABET = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")  # fmt: skip


def crypt(password: str, setting: str) -> str:
    """The C library's crypt: Python's own module is gone in 3.13. Raises OSError when it has no bcrypt."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1", use_errno=True)
    library.crypt.restype = ctypes.c_char_p
    made: Optional[bytes] = library.crypt(password.encode(), setting.encode())
    if not made or made.startswith(b"*"):
        raise OSError(ctypes.get_errno(), "this system's crypt has no bcrypt")
    return made.decode()


def hashed(password: str) -> str:
    salt = base64.b64encode(os.urandom(16)).rstrip(b"=").translate(bytes.maketrans(*ALPHABET))
    return crypt(password, "$2b$10$" + salt.decode())


def kept(path: str, user: str, password: str) -> Optional[str]:
    """The hash that is there, if it is this password's."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = re.search(r'(?m)^  %s: "(\$2[aby]\$[^"]+)"$' % re.escape(user), stream.read())
    except OSError:
        return None
    return found.group(1) if found and crypt(password, found.group(1)) == found.group(1) else None


def web_flag(module: AnsibleModule) -> str:
    """node_exporter before 1.5 (Ubuntu 22.04) calls it --web.config."""
    program = module.get_bin_path("prometheus-node-exporter")
    _, out, err = module.run_command([program, "--help"]) if program else (0, "", "")
    return "--web.config.file" if "--web.config.file" in out + err or not program else "--web.config"


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "password": {**text, "no_log": True}, "user": text, "group": text,
            "web": {"type": "path", "required": True}, "clear": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )  # fmt: skip
    given = module.params
    if len(given["password"]) < SHORTEST:
        module.fail_json(msg="the password of %s has fewer than %d characters" % (given["user"], SHORTEST))
    made: List[str] = []
    try:
        secret = kept(given["web"], given["user"], given["password"]) or hashed(given["password"])
        files = [(given["web"], 'basic_auth_users:\n  %s: "%s"\n' % (given["user"], secret))]
        files += [(given["clear"], given["password"])] if given["clear"] else []
        for path, content in files:
            entry = {"path": path, "content": content, "owner": "root", "group": given["group"], "mode": "0640"}
            if current(entry) != wanted(entry, module.check_mode):
                made.append(path)
                if not module.check_mode:
                    settle(entry)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(made), made=made, web_flag=web_flag(module))


if __name__ == "__main__":
    main()
