"""From a container to a machine that answers: start it, hand over the key, wait for sshd or nginx."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from dsdeploy.errors import LabError
from dsdeploy.lab.layout import Layout, Machine
from dsdeploy.lab.machines import Action, Wanted, run_argv
from dsdeploy.lab.podman import Podman

AT_ONCE = 4
BOOT_SECONDS = 90
EXEC_SECONDS = 20  # how long one exec waits for sshd
_LAST_LOG = "journalctl -b --no-pager -q -n 5 -o cat -u ssh.service -u sshd.service 2>&1 | tail -n 5"

# Reads the public key on stdin, prints the machine's host key. It waits by itself: one exec, not many.
SCRIPT = f"""
set -e
umask 077
mkdir -p /root/.ssh
cat > /root/.ssh/authorized_keys
tries=0
until systemctl -q is-active ssh.service || systemctl -q is-active sshd.service; do
    tries=$((tries + 1))
    if [ "$tries" -gt {EXEC_SECONDS * 5} ]; then {_LAST_LOG} >&2; exit 1; fi
    sleep 0.2
done
cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub
"""


def bring_up(podman: Podman, lab: Layout, actions: Sequence[Action], said: Callable[[str], None]) -> dict[str, str]:
    """Create or start machines, several at once. Returns container id -> host key of the new ones."""

    def one(action: Action) -> tuple[str, str]:
        made = _make(podman, lab, action.wanted) if action.verb != "start" else _start(podman, action)
        said(f"{action.wanted.machine.name} is up")
        return made

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(filter(lambda pair: pair[1], pool.map(one, actions)))


def _start(podman: Podman, action: Action) -> tuple[str, str]:
    podman.text("start", action.wanted.machine.container)
    return "", ""


def _make(podman: Podman, lab: Layout, wanted: Wanted) -> tuple[str, str]:
    container = podman.text(*run_argv(podman, lab, wanted)).strip()
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            key = podman.text("exec", "-i", container, "/bin/sh", "-c", SCRIPT, stdin=f"{wanted.public_key}\n").strip()
            return container, key
        except LabError as error:  # an exec that meets systemd's first moments can be lost; the script may run twice
            state = podman.text("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container).strip()
            if not state.startswith("running") or time.monotonic() > deadline:
                raise boot_failure(podman.name, wanted.machine, state, error.what) from error
            time.sleep(0.5)


def boot_failure(program: str, machine: Machine, state: str, what: str) -> LabError:
    """Why a machine did not boot. `state`: status and exit code of its container."""
    where = f"machine {machine.name}"
    if state == "exited 255":
        return LabError(
            "systemd could not start in it",
            where,
            "often no inotify instance is left: sysctl -w fs.inotify.max_user_instances=1024",
        )
    if not state.startswith("running"):
        return LabError(f"it ended at once ({state})", where, f"{program} logs {machine.container}")
    return LabError(f"sshd did not start in it: {what}", where, f"{program} logs {machine.container}")


def wait(machines: Sequence[Machine], podman: Podman, seconds: float = BOOT_SECONDS) -> None:
    """Until every machine answers over the network. Raises LabError that names the one that does not."""
    deadline = time.monotonic() + seconds
    for machine in machines:
        while not answers(machine):
            if time.monotonic() > deadline:
                port = _port(machine)
                raise LabError(
                    f"nothing answers at {machine.address} port {port}",
                    f"machine {machine.name}",
                    f"{podman.name} logs {machine.container}; a firewall between this computer and its own "
                    "containers has the same effect",
                )
            time.sleep(0.1)


def answers(machine: Machine, timeout: float = 2) -> bool:
    """Does sshd greet (a host), or nginx accept (the mirror)?"""
    try:
        with socket.create_connection((machine.address, _port(machine)), timeout) as connection:
            connection.settimeout(timeout)
            return machine.mirror or connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _port(machine: Machine) -> int:
    return 80 if machine.mirror else 22
