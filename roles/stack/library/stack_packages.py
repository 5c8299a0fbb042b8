#!/usr/bin/python
"""Role module: brings a host's driver, CUDA, cuDNN, NCCL and Fabric Manager to the ordered versions, and holds them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_packages
short_description: Install an order of packages in steps, remove what contradicts it, hold the result
description:
  - Asks the package manager to rehearse all of it before anything is touched.
  - A step that changes packages is refused while one of the given units runs.
options:
  manager: {description: The host's package manager., type: str, choices: [apt, dnf, yum], required: true}
  steps:
    description: Transactions in order; each a list of name and version.
    type: list
    elements: raw
    required: true
  unwanted: {description: Name patterns that must not be installed., type: list, elements: str, default: []}
  driver: {description: The driver's version., type: str, required: true}
  flavour: {description: Which kernel modules., type: str, choices: [open, proprietary], required: true}
  family: {description: Name patterns of a driver's parts., type: list, elements: str, required: true}
  foreign: {description: Name patterns among those that are not a driver's., type: list, elements: str, default: []}
  held: {description: Name patterns that no upgrade may move., type: list, elements: str, required: true}
  stream: {description: Module stream of dnf., type: str, default: ""}
  headers: {description: Whether the running kernel's headers are needed., type: bool, default: true}
  serving: {description: Units that must not run while packages change., type: list, elements: str, default: []}
  rehearse: {description: Only ask whether all of it can be done; also while a unit runs., type: bool, default: false}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Install the stack
  stack_packages:
    manager: apt
    steps: [[{name: nvidia-open, version: "580.178.04-*"}]]
    driver: 580.178.04
    flavour: open
    family: ["*nvidia*"]
    held: ["*nvidia*"]
"""

RETURN = r"""
done: {description: What was or would be done, a line each., returned: always, type: list, elements: str}
held: {description: Names that are held., returned: always, type: list, elements: str}
packages_changed: {description: Whether packages came, went or moved., returned: always, type: bool}
"""

import os  # noqa: E402
from typing import List, Union  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_serving import Unknown, running  # noqa: E402
from ansible.module_utils.dsdeploy_stack_apt import Apt, Refused  # noqa: E402
from ansible.module_utils.dsdeploy_stack_plan import Work, held, work  # noqa: E402
from ansible.module_utils.dsdeploy_stack_rpm import Rpm  # noqa: E402

LANGUAGE = {
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",
    "APT_LISTCHANGES_FRONTEND": "none",
}
HEADERS = "the running kernel's headers are gone from the repositories: update the kernel, reboot, run again"
HINT = {
    "kernel-devel": HEADERS,
    "linux-headers": HEADERS,
    "held broken": "another source's packages are in the way; the lines above name them",
}


def backend(module: AnsibleModule) -> Union[Apt, Rpm]:
    given = module.params
    kernel = os.uname().release if given["headers"] else ""

    def run(command: List[str]) -> "tuple[int, str, str]":
        code, out, err = module.run_command(command, environ_update=LANGUAGE)
        return code, out, err

    if given["manager"] == "apt":
        return Apt(run, given["driver"], given["flavour"], kernel)
    return Rpm(run, given["manager"], given["driver"], given["flavour"], given["family"], given["stream"], kernel)


def left(module: AnsibleModule, manager: Union[Apt, Rpm]) -> Work:
    given = module.params
    return work(
        manager.installed(), given["steps"], given["unwanted"], given["driver"], given["family"], given["foreign"]
    )


def change(module: AnsibleModule, manager: Union[Apt, Rpm], wanted: Work) -> List[str]:
    """Rehearse, then do it; what was done. Raises Refused, or Unknown where systemd does not say what runs."""
    if module.check_mode:
        return wanted.sentences()
    if module.params["rehearse"]:
        manager.prepare()
        return manager.rehearse(wanted)
    busy = running(module, module.params["serving"])
    if busy:
        raise Refused(
            "%s runs and would lose its driver; what is to do: %s" % (", ".join(busy), "; ".join(wanted.sentences()))
        )
    manager.prepare()
    done = manager.rehearse(wanted)
    manager.apply(wanted)
    after = left(module, manager)
    if after.any:
        raise Refused("the package manager was content, and still: %s" % "; ".join(after.sentences()))
    return done


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "manager": {**text, "choices": ["apt", "dnf", "yum"]},
            "steps": {"type": "list", "elements": "raw", "required": True},
            "driver": text,
            "flavour": {**text, "choices": ["open", "proprietary"]},
            "family": {**names, "default": None, "required": True},
            "held": {**names, "default": None, "required": True},
            "unwanted": names,
            "foreign": names,
            "stream": {"type": "str", "default": ""},
            "headers": {"type": "bool", "default": True},
            "serving": names,
            "rehearse": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, manager = module.params, backend(module)
    try:
        wanted = left(module, manager)
        done = change(module, manager, wanted) if wanted.any else []
        if given["rehearse"]:
            module.exit_json(changed=False, done=done, held=[], packages_changed=False)
        packages = manager.installed()
        keep = held(packages, given["held"], given["foreign"])
        loose = manager.unheld(packages, keep)
        if loose and not module.check_mode:
            manager.hold(packages, keep)
    except (Refused, Unknown) as error:
        hint = next((say for word, say in HINT.items() if word in str(error)), "")
        module.fail_json(msg="%s%s" % (error, "; " + hint if hint else ""))
    done += ["hold %s" % name for name in loose]
    module.exit_json(changed=bool(done), done=done, held=keep, packages_changed=wanted.any)


if __name__ == "__main__":
    main()
