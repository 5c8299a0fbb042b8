"""The process in which plays start warm: it has imported Ansible already, and forks for each of them.

dsdeploy.warm starts it as a program and asks on a socket; one packet is one play, with a socket of its own:

    asks      {"argv": [...], "environment": {...}, "without": [...], "log": path}, and the play's socket
    is told   {"pid": n} by the play itself, when it has its session and its log; {"status": n} at its end,
              as subprocess gives it: the exit code, or minus the signal that ended it

A play lasts no longer than its socket is open at the other end, and all plays no longer than the first socket.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # Python put dsdeploy's own folder first: what is called `site` there is not Python's
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import atexit
import gc
import importlib
import json
import os
import random
import selectors
import shutil
import signal
import socket
import traceback
from contextlib import suppress
from typing import Any, NoReturn

PACKET = 1 << 18  # bytes; more than the kernel lets anybody send
FAILED = 250  # what Ansible ends with at an error it did not expect
NAME = "ansible-playbook"  # as `ps` and `top` show a play
MODULES = (
    "ansible.executor.process.worker", "ansible.executor.task_executor", "ansible.playbook.role_include",
    "ansible.playbook.handler_task_include", "ansible.playbook.included_file", "ansible.plugins.strategy.linear",
    "ansible.plugins.cache.memory", "ansible.plugins.callback.default", "ansible.plugins.connection.local",
    "ansible.plugins.connection.ssh", "ansible.plugins.shell.sh", "ansible.plugins.inventory.yaml",
    "ansible.plugins.vars.host_group_vars", "ansible.plugins.filter.core", "ansible.plugins.filter.mathstuff",
    "ansible.plugins.filter.encryption", "ansible.plugins.filter.urls", "ansible.plugins.filter.urlsplit",
    "ansible.plugins.test.core", "ansible.plugins.test.files", "ansible.plugins.test.mathstuff",
    "ansible.plugins.test.uri", "ansible.plugins.lookup.file", "ansible.plugins.lookup.template",
    "ansible.plugins.lookup.items", "ansible.module_utils.facts.system.distribution",
    "multiprocessing.popen_fork", "multiprocessing.synchronize", "multiprocessing.shared_memory",
    "xml.dom.minidom", "xml.etree.ElementTree",
)  # fmt: skip
ACTIONS = ("command", "copy", "template", "include_role", "service", "package", "assert", "debug", "set_fact", "fail")


def prepare() -> None:
    """All of what every play would load again, and that depends on nothing but Ansible and its configuration."""
    importlib.import_module("ansible.cli.playbook")
    loader = importlib.import_module("ansible.plugins.loader")
    for name in MODULES:
        with suppress(ImportError):  # not in every version
            importlib.import_module(name)
    loader.init_plugin_loader()
    with suppress(ImportError):
        importlib.import_module("ansible_collections.ansible.builtin")  # the table of what is found where
    for plugins in (loader.become_loader, loader.callback_loader, loader.connection_loader, loader.shell_loader):
        for _ in plugins.all(class_only=True):
            pass
    for plugins, name in ((loader.strategy_loader, "linear"), (loader.inventory_loader, "yaml")):
        plugins.get(name, class_only=True)
    for name in ACTIONS:
        loader.action_loader.get(f"ansible.builtin.{name}", class_only=True)
    gc.collect()
    gc.freeze()  # a play that collects garbage need not copy these pages


class Stage:
    """Forks plays, tells how they ended, and ends them when nobody is there any more to be told."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._told: dict[int, socket.socket] = {}  # by the play's process
        self._ended, self._end = socket.socketpair()
        for end in (self._ended, self._end):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(asked, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until the controller closes the socket, or is gone."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # else it would not wake up the selector
        signal.set_wakeup_fd(self._end.fileno(), warn_on_full_buffer=False)
        while True:
            ready = [key.fileobj for key, _ in self._selector.select()]
            if self._ended in ready:
                with suppress(BlockingIOError):
                    self._ended.recv(PACKET)
                self._reap()
            for pid, told in list(self._told.items()):
                if told in ready:  # it never says anything, so this is its end
                    self._selector.unregister(told)
                    kill(pid)
            if self._asked in ready and not self._ask():
                break
        for pid in list(self._told):
            kill(pid)
        while self._told:
            self._reap(0)

    def _ask(self) -> bool:
        packet, handles, _, _ = socket.recv_fds(self._asked, PACKET, 1)
        if not packet:
            return False
        if not handles:  # too many are open; the controller sees its end closed, and does without us
            return True
        told = socket.socket(fileno=handles[0])
        try:
            parent, pid = os.getpid(), os.fork()
        except OSError:
            told.close()
            return True
        if not pid:
            self._play(parent, json.loads(packet), told)
        self._told[pid] = told
        self._selector.register(told, selectors.EVENT_READ)
        return True

    def _reap(self, options: int = os.WNOHANG) -> None:
        while self._told:
            pid, status = os.waitpid(-1, options)
            if not pid:
                return
            told = self._told.pop(pid)
            with suppress(KeyError):  # its other end was closed before
                self._selector.unregister(told)
            shutil.rmtree(scratch(pid), ignore_errors=True)
            with suppress(OSError), told:
                told.sendall(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")

    def _play(self, parent: int, request: dict[str, Any], told: socket.socket) -> NoReturn:
        """In the child: to the end of the play, and never back into what the parent was doing."""
        code = FAILED
        try:
            self._leave()
            dress(request)
            os.environ["DSDEPLOY_CONTROLLER"] = str(parent)
            told.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
            told.close()
            cli = importlib.import_module("ansible.cli.playbook").PlaybookCLI
            code = ended_with(cli.cli_executor, request["argv"])
            atexit._run_exitfuncs()
        finally:
            if error := sys.exc_info()[1]:
                traceback.print_exception(error)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _leave(self) -> None:
        """Nothing that is the parent's alone: its session, signals, sockets, and what it does at its exit."""
        os.setsid()
        atexit._clear()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for other in (self._asked, self._ended, self._end, *self._told.values()):
            other.close()


def dress(request: dict[str, Any]) -> None:
    """Environment, log, name, and all that two plays must not have in common, though they have one parent."""
    for name in request["without"]:
        os.environ.pop(name, None)
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)
    random.seed()
    constants: Any = importlib.import_module("ansible.constants")
    constants.DEFAULT_LOCAL_TMP = str(scratch(os.getpid()))
    Path(constants.DEFAULT_LOCAL_TMP).mkdir(mode=0o700)
    names: Any = importlib.import_module("ansible.utils.vars")
    names.random_int = f"{random.SystemRandom().randrange(2**32):08x}"  # what makes the ids of tasks unique
    with suppress(ImportError):  # until 2.18: shared by processes, so a play that is killed would block the next
        locks = importlib.import_module("ansible.executor.action_write_locks").action_write_locks
        for name in locks:
            locks[name] = importlib.import_module("multiprocessing").Lock()


def ended_with(cli: Any, argv: list[str]) -> int:
    """The exit code of a program's main function, as Python itself would give it."""
    try:
        cli(argv)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0)
        sys.stderr.write(f"{end.code}\n")
        return 1
    return 0


def scratch(pid: int) -> Path:
    """Where a play has its temporary files; within the folder that Ansible made when it was imported."""
    return Path(importlib.import_module("ansible.constants").DEFAULT_LOCAL_TMP) / str(pid)


def kill(pid: int) -> None:
    """A play with its group; its workers have sessions of their own, and see that it is gone."""
    for send in (os.killpg, os.kill):  # it may not have a session yet
        with suppress(ProcessLookupError):
            send(pid, signal.SIGKILL)


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    prepare()
    Stage(asked).serve()
    atexit._run_exitfuncs()
    os._exit(0)  # without the second that Python takes to put everything away


if __name__ == "__main__":
    main()
