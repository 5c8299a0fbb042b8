"""Ansible module: folders, programs and small files of a router, and a look at the host, in one round trip.

ansible.builtin.copy and file ask the host once or twice for every path; a router's were seven seconds of a run
that changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

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


def owned(path: Path, mode: int) -> bool:
    """Whether `path` is there, is no link, is the writer's own and has exactly this type and mode."""
    try:
        seen = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return seen.st_mode == mode and (seen.st_uid, seen.st_gid) == (os.geteuid(), os.getegid())


def content(path: Path) -> str:
    """The text of a file, "" where there is none."""
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def stale(files: Dict[str, str]) -> List[str]:
    """Paths whose content, owner, mode or kind is not what it should be."""
    return [name for name, text in files.items() if not owned(Path(name), 0o100644) or content(Path(name)) != text]


def make(folder: Path) -> None:
    """The folder, 0755, and those missing above it."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)
    os.chown(str(folder), os.geteuid(), os.getegid())
    folder.chmod(0o755)


def write(path: Path, text: str) -> None:
    """Beside, then rename: whoever reads it now has the old or the new, whole."""
    beside = path.with_name(f".{path.name}.new")
    fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fchown(file.fileno(), os.geteuid(), os.getegid())
        os.fsync(file.fileno())
    os.replace(str(beside), str(path))


def unkept(paths: List[str]) -> Dict[str, str]:
    """Path of each copy that is still to be made -> its content."""
    wanted = [path for path in paths if Path(path).is_file() and not Path(path + KEPT).exists()]
    return {path + KEPT: content(Path(path)) for path in wanted}


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
    folders = [folder for folder in given["folders"] if not owned(Path(folder), 0o40755)]
    files = {**{name: given["files"][name] for name in stale(given["files"])}, **unkept(given["keep"])}
    diff = [{"before_header": name, "after_header": name, "before": content(Path(name)), "after": text}
            for name, text in files.items()]  # fmt: skip
    if not module.check_mode:
        for folder in folders:
            make(Path(folder))
        for name, text in files.items():
            write(Path(name), text)
    written = [*folders, *files]
    module.exit_json(changed=bool(written), written=written, found=found, interface=interface, diff=diff)


if __name__ == "__main__":
    main()
