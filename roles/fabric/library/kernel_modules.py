#!/usr/bin/python
"""Role module: kernel modules are loaded, now and at every boot; nvidia-peermem only where it is needed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_modules
short_description: Ensure kernel modules are loaded, now and at every boot
description:
  - A module that is built in counts as loaded. Nothing is ever unloaded.
  - nvidia-peermem is needed where the NVIDIA driver is loaded and the kernel offers no DMA-BUF for its memory,
    which takes Linux 5.12 and the driver's open modules.
options:
  names: {description: Modules that must be loaded., type: list, elements: str, required: true}
  if_there: {description: Modules to load where the kernel has them., type: list, elements: str, default: []}
  peer_memory: {description: Whether nvidia-peermem is loaded where it is needed., type: bool, default: false}
  keep: {description: File for systemd-modules-load., type: path, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Load them
  kernel_modules: {names: [ib_umad], peer_memory: true, keep: /etc/modules-load.d/60-x.conf}
"""

RETURN = r"""
loaded: {description: Modules this run loaded., returned: always, type: list, elements: str}
stale: {description: Loaded modules that are not the installed ones., returned: always, type: list, elements: str}
"""

import os  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import List, Optional, Tuple  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

HEAD = "# Written by dsdeploy: RDMA for engines. Changes are overwritten.\n"
DRIVERS = ("mlx5_core", "mlx5_ib", "ib_core")  # what DOCA-OFED replaces
PEER = "nvidia-peermem"
HINT = "it needs DOCA-OFED, or the driver's open modules and Linux 5.12; fabric.peer_memory: false does without"


def there(name: str, root: Path = Path("/sys/module")) -> bool:
    return (root / name.replace("-", "_")).is_dir()


def numbers(release: str) -> Tuple[int, int]:
    """(5, 14) from 5.14.0-427.el9.x86_64."""
    found = re.match(r"([0-9]+)\.([0-9]+)", release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def needs_peer(driver: str, release: str) -> bool:
    """`driver` is what /proc/driver/nvidia/version says, empty without a driver."""
    return bool(driver) and not ("Open Kernel Module" in driver and numbers(release) >= (5, 12))


def text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def stale(module: AnsibleModule) -> List[str]:
    """Loaded, and not what would be loaded now: replaced on disk since."""
    found = []
    for name in DRIVERS:
        loaded = text(f"/sys/module/{name}/srcversion").strip()
        installed = module.run_command(["modinfo", "-F", "srcversion", name])[1].strip() if loaded else ""
        if loaded and installed and loaded != installed:
            found.append(name)
    return found


def can_load(module: AnsibleModule, modprobe: Optional[str], name: str) -> bool:
    return bool(modprobe) and module.run_command([modprobe, "-n", "-q", name])[0] == 0


def main() -> None:
    names = {"type": "list", "elements": "str"}
    spec = {
        "names": {**names, "required": True},
        "if_there": {**names, "default": []},
        "peer_memory": {"type": "bool", "default": False},
        "keep": {"type": "path", "required": True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = module.params
    module.run_command_environ_update = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    modprobe = module.get_bin_path("modprobe", opt_dirs=["/usr/sbin", "/sbin"])
    wanted = list(given["names"])
    if given["peer_memory"] and needs_peer(text("/proc/driver/nvidia/version"), os.uname().release):
        wanted.append(PEER)
    wanted += [name for name in given["if_there"] if there(name) or can_load(module, modprobe, name)]
    missing = [name for name in wanted if not there(name)]
    if not module.check_mode:
        for name in missing:
            code, errors = 1, "there is no modprobe (package kmod)"
            if modprobe:
                code, _, errors = module.run_command([modprobe, name])
            if code:
                hint = f"; {HINT}" if name == PEER else ""
                module.fail_json(msg=f"the kernel does not load {name}: {errors.strip()[-200:]}{hint}")
    content = HEAD + "".join(f"{name}\n" for name in wanted)
    keep = Path(given["keep"])
    kept = text(str(keep)) == content
    if not kept and not module.check_mode:
        beside = keep.with_name(keep.name + ".partial")
        keep.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(content)
        os.chmod(str(beside), 0o644)
        os.replace(str(beside), str(keep))
    module.exit_json(changed=bool(missing) or not kept, loaded=missing, stale=stale(module))


if __name__ == "__main__":
    main()
