"""Controller's half of health_host: asks the host what is stale, and sends that alone."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PROGRAMS = "/usr/local/lib/dsdeploy"
CONFIG = "/etc/dsdeploy/health.json"
STATE = "/var/lib/dsdeploy/health"


class ActionModule(ActionBase):
    """``health_host: {config: {...}, units: {path: text}, textfile_dir: path}``; `units` are those that changed."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        files = programs(Path(str(self._task._role._role_path)) / "files")
        files[CONFIG] = json.dumps(given["config"], indent=1, sort_keys=True) + "\n"
        files.update({str(path): str(text) for path, text in given["units"].items()})
        folders = sorted({str(Path(path).parent) for path in files if path not in given["units"]})
        words = {
            "folders": [*folders, STATE],
            "present": [str(given["textfile_dir"])],
            "digests": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()},
        }
        said = self._execute_module(module_name="health_host", module_args={**words, "files": {}}, task_vars=task_vars)
        wrong = said.get("stale", [])
        if wrong and not said.get("failed"):
            needed = {path: files[path] for path in wrong}
            said = self._execute_module(
                module_name="health_host", module_args={**words, "files": needed}, task_vars=task_vars
            )
        result.update(said)
        result["units"] = [path for path in wrong if path in given["units"]]
        return result


def programs(role: Path) -> dict[str, str]:
    """Path on the host -> content, with the pynvml that this Python has. Raises AnsibleActionFail without one."""
    files = {
        f"{PROGRAMS}/{path.parent.name}/{path.name}": path.read_text(encoding="utf-8")
        for folder in ("gpu", "health")
        for path in sorted((role / folder).iterdir())
        if path.suffix in (".py", ".json")
    }
    found = importlib.util.find_spec("pynvml")
    if found is None or not found.origin:
        raise AnsibleActionFail("Python on this computer has no pynvml: pip install nvidia-ml-py")
    return files | {f"{PROGRAMS}/gpu/pynvml.py": Path(found.origin).read_text(encoding="utf-8")}
