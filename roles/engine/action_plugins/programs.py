"""Controller's half of the programs module: reads the role's files and sends them in one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """``programs: {root: /usr/local/lib/x, sources: {name: [glob below the role's files, ...]}}``."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        role = Path(str(self._task._role._role_path)) / "files"
        files = gather(role, self._task.args["sources"])
        arguments = {"root": self._task.args["root"], "files": files}
        result.update(self._execute_module(module_name="programs", module_args=arguments, task_vars=task_vars))
        return result


def gather(role: Path, sources: dict[str, list[str]]) -> dict[str, str]:
    """``name/file`` -> content. Raises AnsibleActionFail for a pattern that matches nothing."""
    files = {}
    for name, patterns in sources.items():
        for pattern in patterns:
            # plain str: pathlib interns names, which Ansible's own string type (until 2.18) does not allow
            found = sorted(role.glob(str(pattern)))
            if not found:
                raise AnsibleActionFail(f"no file matches {pattern} in {role}")
            files.update({f"{name}/{path.name}": path.read_text(encoding="utf-8") for path in found})
    return files
