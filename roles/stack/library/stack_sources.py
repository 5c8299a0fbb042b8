#!/usr/bin/python
"""Role module: the repositories of a stack, each with its one key, and nothing that contradicts them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_sources
short_description: Repositories, keys and preferred versions of a stack
description:
  - A key file is fetched and written only if it holds the wanted key and no other.
  - Source files that name the same repositories, or servers that are gone, get the ending C(.disabled), once what takes
    their place is written. A key that cannot be had leaves everything as it is.
options:
  manager: {description: The host's package manager., type: str, choices: [apt, dnf, yum], required: true}
  keys: {description: name, url, fingerprint and replaces of each key., type: list, elements: dict, required: true}
  repositories: {description: name, title, url and key of each., type: list, elements: dict, required: true}
  pins: {description: names and version to prefer., type: list, elements: dict, default: []}
  held: {description: Name patterns that nightly upgrades leave alone., type: list, elements: str, default: []}
  foreign: {description: Name patterns among those that they need not., type: list, elements: str, default: []}
  displaced: {description: Patterns of source files to set aside., type: list, elements: str, default: []}
  components:
    description: Components of the distribution itself that its own mirrors are asked for besides, where no source does.
    type: list
    elements: str
    default: []
  root: {description: Where the files lie., type: path, default: /}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Name the repositories
  stack_sources: {manager: apt, keys: [], repositories: []}
"""

RETURN = r"""
made: {description: Paths that were written or set aside., returned: always, type: list, elements: str}
"""

import os  # noqa: E402
from fnmatch import fnmatchcase  # noqa: E402
from typing import Any, Dict, List  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_openpgp import MOST_BYTES, NotAKey, dearmored, fingerprints  # noqa: E402
from ansible.module_utils.dsdeploy_stack_components import added  # noqa: E402
from ansible.module_utils.dsdeploy_stack_sources import (  # noqa: E402
    APT_COMPONENTS,
    FOLDERS,
    HEADER,
    doubled,
    files,
    key_path,
    replaced,
)
from ansible.module_utils.urls import open_url  # noqa: E402

Change = Dict[str, str]


class Wrong(Exception):
    """Something is not as ordered, and why."""


def content(path: str) -> bytes:
    """What a file holds, nothing where it is absent."""
    try:
        with open(path, "rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return b""


def holds(data: bytes, fingerprint: str) -> str:
    """Why this is not a file with that key alone; "" when it is."""
    try:
        found = fingerprints(data)
    except NotAKey as error:
        return str(error)
    if found != [fingerprint]:
        return "it holds %s" % ", ".join(found)
    return ""


def fetched(key: Dict[str, str]) -> bytes:
    """The key's file, checked. Raises Wrong."""
    try:
        data = open_url(key["url"], timeout=30, http_agent="dsdeploy").read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Wrong("the key %s cannot be had from %s: %s" % (key["name"], key["url"], error)) from error
    why = holds(data, key["fingerprint"])
    if why:
        raise Wrong("%s is not the key %s: %s" % (key["url"], key["fingerprint"], why))
    return bytes(data)


def write(root: str, path: str, data: bytes) -> None:
    """Whole or not at all, readable for all: package managers drop their rights to read it."""
    full = os.path.join(root, path.lstrip("/"))
    _folder(os.path.dirname(full))
    descriptor = os.open(full + ".dsdeploy", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        os.fchmod(stream.fileno(), 0o644)
    os.replace(full + ".dsdeploy", full)


def _folder(path: str) -> None:
    """makedirs obeys the umask: with a strict one apt's own user could not read what lies in a new folder."""
    if not os.path.isdir(path):
        _folder(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)


def keyrings(given: Dict[str, Any], check: bool) -> List[Change]:
    """Keys that are not there, or not the right ones; all of them fetched before the first is written."""
    changes, drafts = [], {}
    for key in given["keys"]:
        path = key_path(given["manager"], key["name"])
        there = content(os.path.join(given["root"], path.lstrip("/")))
        if there and not holds(there, key["fingerprint"]):
            continue
        if not check:
            data = fetched(key)
            if given["manager"] != "apt" and b"-----BEGIN" not in data:
                raise Wrong("%s is not armoured text, and rpm imports nothing else" % key["url"])
            drafts[path] = dearmored(data) if given["manager"] == "apt" else data
        changes.append({"path": path, "before": "", "after": "key %s\n" % key["fingerprint"]})
    for path, data in drafts.items():
        write(given["root"], path, data)
    return changes


def texts(given: Dict[str, Any], check: bool) -> List[Change]:
    changes = []
    told = (given[name] for name in ("manager", "repositories", "pins", "held", "foreign", "root"))
    wanted = files(*told)
    if given["manager"] == "apt" and given.get("components"):
        wanted[APT_COMPONENTS] = _components(given["root"], given["components"])
    for path, text in wanted.items():
        before = content(os.path.join(given["root"], path.lstrip("/"))).decode("utf-8", "replace")
        if before != text:
            if not check and text:
                write(given["root"], path, text.encode())
            elif not check:
                os.unlink(os.path.join(given["root"], path.lstrip("/")))
            changes.append({"path": path, "before": before, "after": text})
    return changes


def _components(root: str, wanted: List[str]) -> str:
    """What asks the host's own mirrors for these components; "" where its own sources do."""
    paths = [os.path.join(root, "etc/apt/sources.list")]
    paths += [path for name, path in _listed(root, FOLDERS["apt"][0]) if not name.startswith("dsdeploy-")]
    sources = {path: content(path).decode("utf-8", "replace") for path in paths if path.endswith((".list", ".sources"))}
    release = content(os.path.join(root, "etc/os-release")).decode("utf-8", "replace").splitlines()
    names = dict(line.split("=", 1) for line in release if "=" in line)
    body = added(sources, names.get("VERSION_CODENAME", "").strip("\"'"), wanted)
    return HEADER + body if body else ""


def set_aside(given: Dict[str, Any], check: bool) -> List[Change]:
    """Source files of these names, or with one of these repositories in them, and keys that were replaced."""
    found = []
    for folder in FOLDERS[given["manager"]]:
        for name, path in _listed(given["root"], folder):
            if name.startswith("dsdeploy-") or not name.endswith((".list", ".sources", ".repo")):
                continue
            urls = [one["url"] for one in given["repositories"]]
            by_name = any(fnmatchcase(name, pattern) for pattern in given["displaced"])
            if by_name or doubled(content(path).decode("utf-8", "replace"), urls):
                found.append(path)
    if given["manager"] == "apt":
        found += [path for _, path in _listed(given["root"], "/etc/apt/trusted.gpg.d") if _stale(path, given["keys"])]
    for path in found if not check else []:
        os.replace(path, path + ".disabled")
    return [{"path": path, "before": "in use\n", "after": "set aside\n"} for path in found]


def _listed(root: str, folder: str) -> List["tuple[str, str]"]:
    full = os.path.join(root, folder.lstrip("/"))
    names = sorted(os.listdir(full)) if os.path.isdir(full) else []
    return [(name, os.path.join(full, name)) for name in names]


def _stale(path: str, keys: List[Dict[str, str]]) -> bool:
    """Whether a trusted key file holds a key that was replaced, and no other."""
    try:
        found = fingerprints(content(path))
    except NotAKey:
        return False
    return bool(found) and replaced(found, keys) == found


def main() -> None:
    entries = {"type": "list", "elements": "dict", "default": []}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "manager": {"type": "str", "choices": ["apt", "dnf", "yum"], "required": True},
            "keys": {**entries, "default": None, "required": True, "no_log": False},
            "repositories": {**entries, "default": None, "required": True},
            "pins": entries,
            "held": names,
            "foreign": names,
            "displaced": names,
            "components": names,
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    try:
        changes = keyrings(given, check) + texts(given, check)
        changes += set_aside(given, check)
    except (Wrong, OSError) as error:
        module.fail_json(msg=str(error))
    shown = [{"before_header": c["path"], "after_header": c["path"], "before": c["before"], "after": c["after"]}
             for c in changes]  # fmt: skip
    module.exit_json(
        changed=bool(changes), made=[c["path"] for c in changes], **({"diff": shown} if module._diff else {})
    )


if __name__ == "__main__":
    main()
