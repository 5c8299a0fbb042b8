#!/usr/bin/python
"""Role module: reads in one round trip what a role decides by, and changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: survey
short_description: Read the system, small files, the presence of paths and the state of units
description:
  - Changes nothing, in check mode or out of it.
  - Reads C(os-release) instead of gathering facts, which costs more than everything else here.
options:
  read: {description: Small text files; one that is absent reads as empty., type: list, elements: path, default: []}
  look_for: {description: Paths that may be there., type: list, elements: path, default: []}
  units: {description: Units that systemd may know., type: list, elements: str, default: []}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Read what decides
  survey: {read: [/var/lib/x/id], look_for: [/usr/bin/x], units: [x.service]}
  register: __x_survey
"""

RETURN = r"""
system:
  description: id, name, version and family of the system; the family is debian, redhat or other.
  returned: always
  type: dict
text: {description: Path to content without space around it., returned: always, type: dict}
found: {description: Path to whether it is there., returned: always, type: dict}
units: {description: Installed units with their state in the order asked., returned: always, type: dict}
container: {description: Whether the clock and the kernel are another machine's., returned: always, type: bool}
"""

import os  # noqa: E402
from typing import Dict, List  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

RELEASE = ("/etc/os-release", "/usr/lib/os-release")
DEBIAN = {"debian", "ubuntu"}
REDHAT = {"rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn"}


def content(path: str) -> str:
    """What a small file says, empty when it is absent. Raises OSError for anything else."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return ""


def system(release: str) -> Dict[str, str]:
    """Id, name, version and family from the text of os-release."""
    pairs = (line.split("=", 1) for line in release.splitlines() if "=" in line)
    said = {name.strip(): value.strip().strip("\"'") for name, value in pairs}
    names = {said.get("ID", "").lower(), *said.get("ID_LIKE", "").lower().split()}
    return {
        "id": said.get("ID", "").lower(),
        "name": said.get("NAME", "") or said.get("ID", "") or "this system",
        "version": said.get("VERSION_ID", ""),
        "family": "debian" if names & DEBIAN else "redhat" if names & REDHAT else "other",
    }


def states(listing: str, asked: List[str]) -> Dict[str, str]:
    """Unit to state, in the order asked, from the output of ``systemctl list-unit-files --no-legend --plain``."""
    lines = (line.split() for line in listing.splitlines())
    known = {words[0]: words[1] for words in lines if len(words) > 1}
    return {unit: known[unit] for unit in asked if unit in known}


def answer(module: AnsibleModule, *command: str) -> str:
    """Standard output of a command, empty when the system has no such program or it has nothing to say."""
    program = module.get_bin_path(command[0])
    return str(module.run_command([program, *command[1:]])[1]) if program else ""


def main() -> None:
    paths = {"type": "list", "elements": "path", "default": []}
    units = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"read": paths, "look_for": paths, "units": units}, supports_check_mode=True)
    given = module.params
    try:
        text = {path: content(path) for path in given["read"]}
        release = next((said for said in map(content, RELEASE) if said), "")
    except OSError as error:
        module.fail_json(msg=str(error))
    listed, container = "", ""
    if given["units"]:
        listed = answer(module, "systemctl", "list-unit-files", "--no-legend", "--plain", *given["units"])
        container = answer(module, "systemd-detect-virt", "--container").strip()
    module.exit_json(
        changed=False,
        system=system(release),
        text=text,
        found={path: os.path.exists(path) for path in given["look_for"]},
        units=states(listed, given["units"]),
        container=container not in ("", "none"),
    )


if __name__ == "__main__":
    main()
