#!/usr/bin/python
"""Role module: which packages are not there yet, and whether they may come now: not under a running engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_guard
short_description: Tell which packages are missing, and refuse while a unit runs that uses what they replace
description:
  - Changes nothing. Where nothing is missing, units may run.
options:
  family: {description: The host's family of distributions., type: str, choices: [debian, redhat], required: true}
  packages: {description: Names of packages., type: list, elements: str, required: true}
  serving: {description: Units that must not run while any of them is missing., type: list, elements: str, default: []}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: What is missing
  package_guard: {family: debian, packages: [rdma-core], serving: [dsdeploy-engine@blue.service]}
"""

RETURN = r"""
missing: {description: Names that are not installed., returned: always, type: list, elements: str}
"""

from typing import List  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_serving import Unknown, running  # noqa: E402

WAY = (
    "stop the engine of this host while others carry the load (systemctl stop %s), then dsdeploy up SITE --only fabric "
    "--limit HOST, then dsdeploy up SITE"
)


def missing(module: AnsibleModule, family: str, packages: List[str]) -> List[str]:
    """Names that are not installed, in the order given."""
    if family == "debian":
        words = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n", *packages]
        rows = [line.split() for line in module.run_command(words)[1].splitlines()]
        there = {row[1] for row in rows if len(row) == 2 and row[0] == "installed"}
        return [name for name in packages if name not in there]
    return [name for name in packages if module.run_command(["rpm", "-q", name])[0] != 0]


def main() -> None:
    names = {"type": "list", "elements": "str"}
    family = {"type": "str", "choices": ["debian", "redhat"], "required": True}
    module = AnsibleModule(
        argument_spec={
            "family": family,
            "packages": {**names, "required": True},
            "serving": {**names, "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = missing(module, given["family"], given["packages"])
    try:
        busy = running(module, given["serving"]) if wanted else []
    except Unknown as error:
        module.fail_json(msg=str(error), missing=wanted)
    if busy and not module.check_mode:
        said = "%s runs and uses the libraries and modules that %s would replace; " % (
            ", ".join(busy),
            ", ".join(wanted),
        )
        module.fail_json(msg=said + WAY % " ".join(busy), missing=wanted)
    module.exit_json(changed=False, missing=wanted)


if __name__ == "__main__":
    main()
