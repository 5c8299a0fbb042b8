#!/usr/bin/python
"""Role module: a marker on disk exactly while the running service was started with other files than are there now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restart_marker
short_description: Say on disk that a running service has an older configuration
description:
  - Compares the files with the checksums that the service's unit wrote when it started.
  - Survives a killed run, unlike a handler; a change that is taken back takes the marker back too.
options:
  started_with: {description: Output of sha256sum, written by the unit at its start., type: path, required: true}
  files: {description: Files that a restart would read., type: list, elements: path, required: true}
  marker: {description: The marker., type: path, required: true}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Leave word when it runs with an older configuration
  restart_marker: {started_with: /run/x/started-with, files: [/etc/x.conf], marker: /var/lib/dsdeploy/x.restart-needed}
"""

RETURN = r"""
restart_needed: {description: Whether the service runs with something older., returned: always, type: bool}
differs: {description: The files that differ., returned: always, type: list, elements: str}
"""

import hashlib  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
from typing import Dict, List, Optional  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


def checksums(text: str) -> Dict[str, str]:
    """Path to sha256, from the output of sha256sum."""
    pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
    return {path.strip().lstrip("*"): digest for digest, path in pairs}


def digest(path: str) -> str:
    """sha256 of a file, ``absent`` when there is none."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except FileNotFoundError:
        return "absent"


def differs(started_with: str, files: List[str]) -> List[str]:
    """Files that changed since the start; none when the service does not run, for its start will read them."""
    try:
        with open(started_with, encoding="utf-8") as stream:
            then = checksums(stream.read())
    except FileNotFoundError:
        return []
    return sorted(path for path in set(files) | set(then) if digest(path) != then.get(path, "absent"))


def content(path: str) -> Optional[str]:
    """What the marker says, None when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def settle(marker: str, wanted: Optional[str]) -> None:
    """Put the marker, whole or not at all, or take it away."""
    if wanted is None:
        os.unlink(marker)
        return
    descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(marker), prefix=".marker.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(wanted)
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    os.replace(draft, marker)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "started_with": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "marker": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    found = differs(given["started_with"], given["files"])
    wanted = "".join(path + "\n" for path in found) or None
    changed = content(given["marker"]) != wanted
    if changed and not module.check_mode:
        try:
            settle(given["marker"], wanted)
        except OSError as error:
            module.fail_json(msg="%s: %s" % (given["marker"], error.strerror))
    module.exit_json(changed=changed, restart_needed=bool(found), differs=found)


if __name__ == "__main__":
    main()
