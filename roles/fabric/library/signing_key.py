#!/usr/bin/python
"""Role module: a key that signs packages is brought and kept only if it is the one that was named."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: Bring a package signing key of a known fingerprint
description:
  - Downloads nothing when the file that is there has the fingerprint.
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

import base64  # noqa: E402
import hashlib  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.urls import fetch_url  # noqa: E402

MOST = 256 * 1024


def fingerprint(armoured: str) -> str:
    """Of the first key packet (version 4), upper-case hex; empty where there is none.

    RFC 4880, 12.2: SHA-1 over 0x99, the packet's length and the packet. No gpg is needed for that.
    """
    block = re.search(
        r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n]+: [^\n]*\n)*\s*\n(.*?)\n(?:=|-----END)", armoured, re.S
    )
    if not block:
        return ""
    try:
        data = base64.b64decode(block.group(1))
    except ValueError:
        return ""
    body = first_packet(data)
    if len(body) < 6 or body[0] != 4:
        return ""
    return hashlib.new("sha1", b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # names, not trusts


def first_packet(data: bytes) -> bytes:
    """The body of a public key packet (tag 6) at the start; empty for anything else."""
    if len(data) < 3 or not data[0] & 0x80:
        return b""
    if data[0] & 0x40:  # new form
        tag, first = data[0] & 0x3F, data[1]
        if first < 192:
            start, length = 2, first
        elif first < 224:
            start, length = 3, ((first - 192) << 8) + data[2] + 192
        else:
            return b""
    else:
        tag, size = (data[0] & 0x3C) >> 2, 1 << (data[0] & 3)
        if size > 4:
            return b""
        start, length = 1 + size, int.from_bytes(data[1 : 1 + size], "big")
    return data[start : start + length] if tag == 6 and start + length <= len(data) else b""


def main() -> None:
    spec = {
        name: {"type": kind, "required": True}
        for name, kind in (("url", "str"), ("fingerprint", "str"), ("path", "path"))
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given, path = module.params, Path(module.params["path"])
    if path.is_file() and fingerprint(path.read_text(encoding="utf-8", errors="replace")) == given["fingerprint"]:
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    answer, info = fetch_url(module, given["url"], timeout=30)
    if info["status"] != 200:
        module.fail_json(msg=f"{given['url']} cannot be had: {info.get('msg', info['status'])}")
    text = answer.read(MOST).decode("utf-8", errors="replace").replace("\r\n", "\n")
    found = fingerprint(text)
    if found != given["fingerprint"]:
        module.fail_json(
            msg=f"{given['url']} is the key {found or '(no key)'}, not {given['fingerprint']}: not trusted"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text)
    os.chmod(str(beside), 0o644)
    os.replace(str(beside), str(path))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
