"""Ansible module: folders and files of the health timer, in one round trip. Its files come with the action plugin.

The report of GPUs needs NVIDIA's pynvml, a single file of 330 kB: the host is told its digest first and asked for
nothing more while it has it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

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


def owned(path: Path, mode: int) -> bool:
    """Whether it is there, no link, root's (the one who runs this) and has exactly this kind and mode."""
    try:
        seen = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return seen.st_mode == mode and (seen.st_uid, seen.st_gid) == (os.geteuid(), os.getegid())


def stale(digests: Dict[str, str]) -> List[str]:
    """Paths whose content, owner or mode is not what it should be."""
    found = []
    for name, digest in digests.items():
        path = Path(name)
        if not owned(path, 0o100644) or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(name)
    return found


def make(folder: Path) -> None:
    """The folder, 0755, and those missing above it."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)
    os.chown(str(folder), os.geteuid(), os.getegid())
    folder.chmod(0o755)


def write(path: Path, text: str) -> None:
    """Beside, then rename: a program that is being started is never half there."""
    beside = path.with_name(f".{path.name}.new")
    fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fchown(file.fileno(), os.geteuid(), os.getegid())
        os.fsync(file.fileno())
    os.replace(str(beside), str(path))


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    folders = [folder for folder in given["folders"] if not owned(Path(folder), 0o40755)]
    folders += [folder for folder in given["present"] if not Path(folder).is_dir()]
    wrong = stale(given["digests"])
    ready = [name for name in wrong if name in given["files"]]
    if not module.check_mode and (ready or not wrong):
        for folder in folders:
            make(Path(folder))
        for name in ready:
            write(Path(name), given["files"][name])
    missing = [name for name in wrong if name not in ready]
    module.exit_json(changed=bool(folders or wrong), written=[*folders, *ready], stale=missing)


if __name__ == "__main__":
    main()
