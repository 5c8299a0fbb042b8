#!/usr/bin/python
"""Role module: loads the driver where that needs no restart, and proves that what is installed is what was ordered."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_proof
short_description: Prove the versions of a stack, and say what only a restart can bring
description:
  - Libraries are asked for their versions, in a process of their own; commands are run and read.
  - With C(booted) everything must hold. Without, what needs the driver in memory is told and not wanted yet.
  - What no restart mends fails at once, a module that could not be built and one that Secure Boot refuses.
options:
  checks: {description: What to ask and what it must say., type: list, elements: dict, required: true}
  driver: {description: The driver's version., type: str, required: true}
  load: {description: Whether the module may be loaded where none is., type: bool, default: false}
  booted: {description: Whether the driver must be in memory by now., type: bool, default: false}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Prove the stack
  stack_proof: {checks: [], driver: 580.178.04, booted: true}
"""

RETURN = r"""
proofs: {description: Every check with what was said., returned: always, type: list, elements: dict}
restart: {description: Why a restart is needed, empty when none is., returned: always, type: str}
loaded: {description: Version of the module in memory., returned: always, type: str}
built: {description: Version of the module on disk for the running kernel., returned: always, type: str}
boot_id: {description: The kernel's name of this start., returned: always, type: str}
"""

import os  # noqa: E402
from glob import glob  # noqa: E402
from typing import List, Tuple  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_stack_proof import AFTER_BOOT, proven  # noqa: E402

REFUSED = ("Key was rejected by service", "Required key not available", "Operation not permitted")
MOK = (
    "Secure Boot refuses the module: the key it was signed with on this host is not enrolled; at the console: "
    "mokutil --import the key (/var/lib/dkms/mok.pub, Ubuntu: /var/lib/shim-signed/mok/MOK.der), reboot and confirm; "
    "or install signed modules, or switch Secure Boot off"
)


def text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def command(module: AnsibleModule, words: List[str]) -> Tuple[int, str, str]:
    """Exit code, output, errors; a program that is not there is exit code 127."""
    program = words[0] if words[0].startswith("/") else module.get_bin_path(words[0])
    if not program:
        return 127, "", "%s is not installed" % words[0]
    code, out, err = module.run_command([program, *words[1:]], handle_exceptions=False)
    return code, out, err


def restart(loaded: str, built: str, driver: str, nouveau: bool, words: str) -> str:
    """Why only a restart helps, as a sentence; "" when none is needed."""
    if loaded == driver:
        return ""
    if loaded:
        return "the module in memory is %s, installed is %s" % (loaded, built or driver)
    if nouveau:
        return "nouveau is in memory and holds the GPUs"
    if any(word in words for word in REFUSED):
        return MOK
    return "the driver is not in memory%s" % (": " + words if words else "")


def unbuilt(driver: str, kernel: str, root: str = "/") -> str:
    """Why there is no module although its sources are: DKMS says so in a file and lets the installation pass."""
    found = sorted(glob(os.path.join(root, "usr/src/nvidia*-%s" % driver)))
    if not found:
        return ""
    log = "/var/lib/dkms/%s/%s/build/make.log" % (os.path.basename(found[0])[: -len(driver) - 1], driver)
    return "DKMS has built no module of %s for the running kernel %s: %s says why" % (driver, kernel, log)


def main() -> None:
    flag = {"type": "bool", "default": False}
    module = AnsibleModule(
        argument_spec={
            "checks": {"type": "list", "elements": "dict", "required": True},
            "driver": {"type": "str", "required": True},
            "load": flag,
            "booted": flag,
        },
        supports_check_mode=True,
    )
    given, changed, words = module.params, False, ""
    built = command(module, ["modinfo", "-F", "version", "nvidia"])[1].strip()
    nouveau = text("/sys/module/nouveau/initstate") == "live"
    if given["load"] and built and not nouveau and not text("/sys/module/nvidia/version") and not module.check_mode:
        code, _, err = command(module, ["modprobe", "nvidia"])
        changed, words = code == 0, err.strip()[-300:]
    loaded = text("/sys/module/nvidia/version")
    why = restart(loaded, built, given["driver"], nouveau, words)
    asked = [one for one in given["checks"] if not why or one["what"] not in AFTER_BOOT]
    proofs = [proven(one, lambda line: command(module, line)) for one in asked]
    told = {
        "changed": changed,
        "proofs": proofs,
        "restart": why,
        "loaded": loaded,
        "built": built,
        "boot_id": text("/proc/sys/kernel/random/boot_id"),
    }
    wrong = ["%(what)s: %(asked)s says %(said)s, %(wanted)s is wanted" % one for one in proofs if not one["ok"]]
    if given["load"] and not built and not loaded:
        wrong += [said for said in [unbuilt(given["driver"], os.uname().release)] if said]
    # no restart enrols a key
    if why and (given["booted"] or why == MOK):
        wrong.append(why)
    if wrong and not module.check_mode:
        module.fail_json(msg="; ".join(wrong), **told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
