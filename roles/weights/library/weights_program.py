"""Ansible module: install the pull program, all its files in one round trip.

ansible.builtin.copy asks the host twice for every file of a directory; thirty files are half a minute in a
run that changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: weights_program
short_description: Install a Python package, root-owned, exactly as given
options:
  root: {description: Folder of the package; nothing else stays in it., type: path, required: true}
  files: {description: File name -> content., type: dict, required: true}
author: [dsdeploy]
"""

SPEC: Dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "files": {"type": "dict", "required": True},
}


def differing(root: Path, files: Dict[str, str]) -> List[str]:
    """Names whose content, owner, mode or kind is not what it should be."""
    return [name for name, text in files.items() if not _same(root / name, text.encode())]


def _same(path: Path, wanted: bytes) -> bool:
    try:
        seen = path.lstat()
        return seen.st_mode == 0o100644 and seen.st_uid == os.geteuid() and path.read_bytes() == wanted
    except (FileNotFoundError, NotADirectoryError):
        return False


def strays(root: Path, files: Dict[str, str]) -> List[str]:
    """Files of an older release: Python would import them still."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.name not in files and not path.is_dir())


def write(path: Path, text: str) -> None:
    """Beside, then rename: a program that starts now is whole, old or new."""
    beside = path.with_name(f".{path.name}.new")
    fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(text.encode())
        os.fchmod(file.fileno(), 0o644)
    os.replace(str(beside), str(path))


def make(root: Path) -> None:
    """The folder and those above it, 0755; ones that are there already are another role's to argue about."""
    for path in reversed([root, *root.parents]):
        if not path.is_dir():
            path.mkdir(mode=0o755)
            path.chmod(0o755)


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    root, files = Path(module.params["root"]), module.params["files"]
    for name in files:
        if "/" in name or name.startswith("."):
            module.fail_json(msg=f"{name!r} is not the name of a file in {root}")
    stale, old = differing(root, files), strays(root, files)
    if not module.check_mode:
        make(root)
        for name in stale:
            write(root / name, files[name])
        for name in old:
            (root / name).unlink()
    module.exit_json(changed=bool(stale or old), written=stale, removed=old)


if __name__ == "__main__":
    main()
