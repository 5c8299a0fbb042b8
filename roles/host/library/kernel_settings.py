#!/usr/bin/python
"""Role module: brings the kernel's memory settings to what the site declares, and proves it by reading back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Transparent huge pages, huge pages and swappiness, verified by reading back
description:
  - Writes only what differs.
  - Every setting ends as kept, applied, skipped (read-only or unknown to this kernel) or failed.
  - A pool of huge pages that the kernel filled only in part is a failure that says wanted, got and what to do.
options:
  transparent_hugepages:
    description: Value of the top level.
    type: str
    choices: [never, madvise, always]
    required: true
  hugepages_2mb: {description: Pages of 2 MiB in the pool; 0 leaves the pool alone., type: int, required: true}
  swappiness: {description: Value of vm.swappiness., type: int, required: true}
  required: {description: Whether a skipped setting is a failure., type: bool, required: true}
  root: {description: Where proc and sys are found., type: path, default: /}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Ensure transparent huge pages are off
  kernel_settings: {transparent_hugepages: never, hugepages_2mb: 0, swappiness: 10, required: false}
"""

RETURN = r"""
applied: {description: Settings that were changed., returned: always, type: list, elements: str}
skipped_settings:
  description: Settings that could not be written, with the reason.
  returned: always
  type: list
  elements: str
settings:
  description: Every setting with wanted, before, after, outcome and reason.
  returned: always
  type: list
  elements: dict
"""

from dataclasses import asdict  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.dsdeploy_kernel import THP_COMPANIONS, Report, settle  # noqa: E402


def message(report: Report, required: bool) -> str:
    """What an operator reads: failures first, then what was skipped, then what was done."""
    parts = report.names("failed")
    parts += [("required, but not set: " if required else "skipped: ") + name for name in report.names("skipped")]
    parts += ["applied: " + name for name in report.names("applied")]
    return "; ".join(parts) or "as declared"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "transparent_hugepages": {"type": "str", "choices": sorted(THP_COMPANIONS), "required": True},
            "hugepages_2mb": {"type": "int", "required": True},
            "swappiness": {"type": "int", "required": True},
            "required": {"type": "bool", "required": True},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    report = settle(
        wanted["root"],
        wanted["transparent_hugepages"],
        wanted["hugepages_2mb"],
        wanted["swappiness"],
        module.check_mode,
    )
    skipped = report.names("skipped")
    result = {
        "changed": bool(report.names("applied")),
        "applied": report.names("applied"),
        "skipped_settings": skipped,
        "settings": [asdict(knob) for knob in report.knobs],
        "diff": {"before": report.values("before"), "after": report.values("after")},
        "msg": message(report, wanted["required"]),
    }
    if report.names("failed") or (skipped and wanted["required"]):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
