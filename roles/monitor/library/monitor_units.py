#!/usr/bin/python
"""Role module: which units run with something older than is on disk now, so that a killed run is taken up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_units
short_description: Say which units have to be restarted or told to read their files again
description:
  - Changes nothing. Compares when files were put in place with when a unit became active, and with what the server
    itself says of when it last loaded them. Unlike a handler, that outlives a run that was killed before it reloaded.
  - In check mode a unit that is not there yet is left out, for there is nothing to compare.
options:
  units:
    description: What is to run.
    type: list
    elements: dict
    required: true
    suboptions:
      unit: {description: Its name., type: str, required: true}
      start: {description: Files that a start reads., type: list, elements: path, default: []}
      reload: {description: Files that a reload reads as well., type: list, elements: path, default: []}
      metrics: {description: Where the server says when it last loaded them., type: str, default: ""}
      loaded: {description: Name of that figure., type: str, default: ""}
  also: {description: Units whose files systemd is to know., type: list, elements: str, default: []}
  written: {description: Files that this run wrote or would write., type: list, elements: path, default: []}
  user: {description: Name for the servers., type: str, default: ""}
  password_file: {description: File on this host with its password., type: path, default: ""}
author: [dsdeploy]
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Look at what runs with something older than is there now
  monitor_units: {units: [{unit: x.service, start: [/etc/systemd/system/x.service.d/x.conf]}]}
"""

RETURN = r"""
units: {description: unit, and the state for systemd_service., returned: always, type: list, elements: dict}
daemon_reload: {description: Whether systemd knows older unit files., returned: always, type: bool}
"""

import base64  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any, Callable, Dict, List, Optional  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

TIMEOUT_S = 5.0
PROPERTIES = "LoadState,ActiveState,NeedDaemonReload,ActiveEnterTimestampMonotonic"


def shown(text: str) -> Dict[str, str]:
    """Properties of a unit, from the output of ``systemctl show``."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def since(unit: Dict[str, str], monotonic: float, clock: float) -> Optional[float]:
    """When it became active, in seconds since 1970; None when it does not run: its start will read everything."""
    if unit.get("ActiveState") not in ("active", "reloading"):
        return None
    return clock - monotonic + int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6


def newer(paths: List[str], moment: float) -> List[str]:
    """Those that were put in place after it. The inode's time counts: a file keeps its own through a rename."""
    return [path for path in paths if os.path.exists(path) and os.stat(path).st_ctime > moment]


def figure(text: str, name: str) -> float:
    """A figure of an exporter's; 0 when it does not say."""
    found = re.search(r"(?m)^%s(?:\{[^}]*\})? (\S+)$" % re.escape(name), text) if name else None
    return float(found.group(1)) if found else 0.0


def state(entry: Dict[str, Any], began: Optional[float], written: List[str], loaded: Callable[[], float]) -> str:
    """What the unit needs. `loaded` is asked only where a file is newer than the start."""
    if began is None:
        return "started"
    if set(entry["start"]) & set(written) or newer(entry["start"], began):
        return "restarted"
    if set(entry["reload"]) & set(written):
        return "reloaded"
    return "reloaded" if newer(entry["reload"], began) and newer(entry["reload"], loaded()) else "started"


def ask(url: str, user: str, password_file: str) -> str:
    """The server's own figures; "" when it does not answer. No proxy is asked: it is this host."""
    try:
        with open(password_file, encoding="utf-8") as stream:
            secret = "%s:%s" % (user, stream.read().strip())
        words = {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers=words), timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except (OSError, ValueError):
        return ""


def main() -> None:
    paths, words = ({"type": "list", "elements": kind, "default": []} for kind in ("path", "str"))
    word, name = {"type": "str", "default": ""}, {"type": "str", "required": True}
    entry = {"unit": name, "start": paths, "reload": paths, "metrics": word, "loaded": word}
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "dict", "required": True, "options": entry},
            "also": words, "written": paths, "user": word,
            "password_file": {"type": "path", "default": "", "no_log": False},
        },
        supports_check_mode=True,
    )  # fmt: skip
    given = module.params
    written, wanted = given["written"], []

    def show(unit: str) -> Dict[str, str]:
        return shown(str(module.run_command(["systemctl", "show", "-p", PROPERTIES, unit])[1]))

    def loaded(one: Dict[str, str]) -> float:
        return figure(ask(one["metrics"], given["user"], given["password_file"]), one["loaded"])

    seen = {name: show(name) for name in [one["unit"] for one in given["units"]] + given["also"]}
    for one in given["units"]:
        unit = seen[one["unit"]]
        if module.check_mode and unit.get("LoadState") == "not-found":
            continue
        began = since(unit, time.monotonic(), time.time())
        wanted.append({"unit": one["unit"], "state": state(one, began, written, partial(loaded, one))})
    stale = any(path.startswith("/etc/systemd/system/") for path in written)
    stale = stale or any(unit.get("NeedDaemonReload") == "yes" for unit in seen.values())
    module.exit_json(changed=False, units=wanted, daemon_reload=stale)


if __name__ == "__main__":
    main()
