"""One JSON line for each task result, to the file that $DSDEPLOY_EVENTS names.

This is the only thing that comes up from Ansible beside the exit code. Python
reads it while the play runs (progress) and afterwards (what changed, what failed).

It also ends Ansible when the Python that started it ($DSDEPLOY_CONTROLLER) is gone: a play nobody
follows would go on changing hosts while somebody else already holds the site.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: dsdeploy_events
type: notification
short_description: one JSON line for each task result
description: Appends one JSON document a line to the file named by the environment variable DSDEPLOY_EVENTS.
"""

DEBUG = ("debug", "ansible.builtin.debug")  # what a role wants the operator to know
POLL_SECONDS = 0.2
MESSAGE_LIMIT = 4000  # characters; a host's output is not to be trusted with the controller's disk


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "dsdeploy_events"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("DSDEPLOY_EVENTS")
        self.disabled = not path
        self._file = open(path, "a", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115
        self._started = {}
        _bind_to_controller()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._emit({"event": "task", "role": _role(task), "task": task.get_name()})

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host, task):
        self._started[(host.get_name(), task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result):
        self._result(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        self._result(result, "unreachable")

    def v2_runner_on_skipped(self, result):
        self._result(result, "skipped")

    def _result(self, result, status):
        task, host = result._task, result._host.get_name()
        event = {
            "event": "result",
            "status": status,
            "host": host,
            "role": _role(task),
            "task": task.get_name(),
            "seconds": round(time.monotonic() - self._started.pop((host, task._uuid), time.monotonic()), 2),
        }
        if status in ("failed", "ignored", "unreachable"):
            event["message"] = _message(result._result, task.no_log)
        elif status == "ok" and task.action in DEBUG:
            message = result._result.get("msg") or ""
            lines = message if isinstance(message, list) else [message]
            event["notice"] = "; ".join(str(line) for line in lines if line)[:MESSAGE_LIMIT]
        if isinstance(result._result.get("report"), dict):
            event["report"] = result._result["report"]
        self._emit(event)

    def _emit(self, event):
        if self._file:
            self._file.write(json.dumps(event, default=str) + "\n")


def _bind_to_controller():
    """This process ends with the controller, and each worker with this process.

    Only where dsdeploy started us, as the leader of a group: a stranger's group is not ours to kill.
    """
    controller = os.environ.pop("DSDEPLOY_CONTROLLER", "")
    if not controller or os.getpgrp() != os.getpid():
        return
    parent = os.getpid()

    def in_worker():
        # a worker leaves our session and has none of our threads; what it forks in turn is in its own group
        nonlocal parent
        ours, parent = parent, None
        if ours:
            _end_with(ours)

    os.register_at_fork(after_in_child=in_worker)
    _end_with(int(controller))  # it may be gone already


def _end_with(parent):
    def look():
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=look, name="dsdeploy-end", daemon=True).start()


def _role(task):
    return task._role.get_name() if task._role else ""


def _message(result, no_log):
    """The sentence a person wants: the module's message, else the last lines of its output."""
    if no_log:
        return "hidden, because the task handles a secret"
    parts = [str(result.get("msg") or "")]
    for item in result.get("results") or []:
        if isinstance(item, dict) and item.get("failed"):
            parts.append(str(item.get("msg") or item.get("stderr") or ""))
    if not any(parts) or result.get("msg") == "non-zero return code":
        for stream in ("stdout", "stderr"):
            lines = str(result.get(stream) or "").strip().splitlines()
            parts.extend(lines[-15:])
    return "\n".join(part for part in parts if part)[:MESSAGE_LIMIT]
