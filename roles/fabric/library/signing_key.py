#!/usr/bin/python
"""Role module: a key that signs packages is brought and kept only if it is the one that was named, and no other."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: Bring a package signing key of a known fingerprint
description:
  - Downloads nothing when the file that is there holds that key and no other.
options:
  url: {description: Where the armoured key lies., type: str, required: true}
  fingerprint: {description: 40 hex digits., type: str, required: true}
  path: {description: Where it is kept., type: path, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: The key
  signing_key: {url: "https://mirror.example.net/KEY", fingerprint: 0123…, path: /usr/share/keyrings/x.asc}
"""

RETURN = r"""
{}
"""

import os  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_openpgp import MOST_BYTES, NotAKey, fingerprints  # noqa: E402
from ansible.module_utils.urls import fetch_url  # noqa: E402


def other(data: bytes, wanted: str) -> str:
    """Why this is not an armoured file with that key alone; "" when it is."""
    if b"-----BEGIN" not in data:
        return "no armoured text"
    try:
        found = fingerprints(data)
    except NotAKey as error:
        return "no key that can be read: %s" % error
    return "" if found == [wanted] else "the key %s" % " and ".join(found)


def kept(path: Path) -> bytes:
    """What the file holds, nothing where it is absent."""
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return b""


def keep(path: Path, data: bytes) -> None:
    """Whole or not at all, readable for all, whatever the umask: package managers drop their rights to read it."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
        os.chmod(str(path.parent), 0o755)
    beside = path.with_name(path.name + ".partial")
    beside.write_bytes(data)
    os.chmod(str(beside), 0o644)
    os.replace(str(beside), str(path))


def main() -> None:
    spec = {
        name: {"type": kind, "required": True}
        for name, kind in (("url", "str"), ("fingerprint", "str"), ("path", "path"))
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given, path = module.params, Path(module.params["path"])
    if not other(kept(path), given["fingerprint"]):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    answer, info = fetch_url(module, given["url"], timeout=30)
    if info["status"] != 200:
        module.fail_json(msg=f"{given['url']} cannot be had: {info.get('msg', info['status'])}")
    data = answer.read(MOST_BYTES + 1).replace(b"\r\n", b"\n")
    why = other(data, given["fingerprint"])
    if why:
        module.fail_json(msg=f"{given['url']} is {why}, not the key {given['fingerprint']} alone: not trusted")
    keep(path, data)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
