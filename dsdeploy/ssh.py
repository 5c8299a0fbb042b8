"""Reach a port behind a host through SSH, as the operator: the only paramiko user.

ZooKeeper's client port need not be open to the operator's computer; a tunnel
through one member is enough. Host keys are checked, an unknown one is refused.
"""

from __future__ import annotations

import select
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from dsdeploy.errors import HostUnreachable, Problem
from dsdeploy.site import Site

CHUNK = 65536


def login_command(site: Site, host: str) -> str:
    """The ssh line an operator can try by hand."""
    words = ["ssh", "-p", str(site.ssh.port)]
    if site.ssh.identity:
        words += ["-i", str(site.ssh.identity)]
    if site.ssh.known_hosts:
        words += ["-o", f"UserKnownHostsFile={site.ssh.known_hosts}"]
    return shlex.join([*words, f"{site.ssh.user}@{site.hosts[host].address}", "true"])


@contextmanager
def tunnel(site: Site, host: str, port: int) -> Iterator[int]:
    """Forward a local port to `port` on the host's own address; yields the local port.

    Raises HostUnreachable when SSH to the host fails.
    """
    client = _connect(site, host)
    listener = socket.create_server(("127.0.0.1", 0))
    transport = client.get_transport()
    assert transport is not None
    target = (site.hosts[host].address, port)
    threading.Thread(target=_serve, args=(listener, transport, target), daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
        client.close()


def _connect(site: Site, host: str) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known = site.ssh.known_hosts or Path.home() / ".ssh" / "known_hosts"
    try:
        client.load_host_keys(str(known))
        client.connect(
            site.hosts[host].address,
            port=site.ssh.port,
            username=site.ssh.user,
            key_filename=str(site.ssh.identity) if site.ssh.identity else None,
            timeout=site.ssh.connect_timeout,
            banner_timeout=site.ssh.connect_timeout,
            auth_timeout=site.ssh.connect_timeout,
        )
    except (OSError, paramiko.SSHException) as error:
        client.close()
        problem = Problem(f"no SSH to {host}: {error}", f"host {host}", login_command(site, host))
        raise HostUnreachable([problem]) from error
    return client


def _serve(listener: socket.socket, transport: paramiko.Transport, target: tuple[str, int]) -> None:
    while True:
        try:
            local, peer = listener.accept()
        except OSError:  # the listener was closed: the tunnel is over
            return
        threading.Thread(target=_pump, args=(local, transport, target, peer), daemon=True).start()


def _pump(local: socket.socket, transport: paramiko.Transport, target: tuple[str, int], peer: tuple[str, int]) -> None:
    with local:
        try:
            remote = transport.open_channel("direct-tcpip", target, peer, timeout=10)
        except (paramiko.SSHException, EOFError, OSError):
            return  # the client sees its connection closed and tries again
        with remote:
            while True:
                ready, _, _ = select.select([local.fileno(), remote.fileno()], [], [])
                for end, other in ((local, remote), (remote, local)):
                    if end.fileno() in ready:
                        data = end.recv(CHUNK)
                        if not data:
                            return
                        other.sendall(data)
