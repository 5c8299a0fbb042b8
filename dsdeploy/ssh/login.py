"""SSH connections as the operator: host keys are checked, an unknown one is refused."""

from __future__ import annotations

import logging
import shlex
import socket
from pathlib import Path

import paramiko

from dsdeploy.errors import HostUnreachable, Problem
from dsdeploy.site import Site

CHANNEL_SECONDS = 5.0
SILENT_SECONDS = 10  # a peer that acknowledges nothing for so long is gone

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what fails is told by exceptions


def login_words(site: Site, host: str) -> list[str]:
    """How an operator reaches a host by hand: with the site file's port, key, known hosts and user."""
    words = ["ssh", "-p", str(site.ssh.port)]
    if site.ssh.identity:
        words += ["-i", str(site.ssh.identity)]
    if site.ssh.known_hosts:
        words += ["-o", f"UserKnownHostsFile={site.ssh.known_hosts}"]
    return [*words, f"{site.ssh.user}@{site.hosts[host].address}"]


def login_command(site: Site, host: str) -> str:
    """The ssh line an operator can try by hand."""
    return shlex.join([*login_words(site, host), "true"])


def connect(site: Site, host: str) -> paramiko.SSHClient:
    """A connection to the host. Raises HostUnreachable, with the line to try by hand."""
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
        _notice_silence(client)
    except (OSError, EOFError, paramiko.SSHException) as error:
        client.close()
        problem = Problem(f"no SSH to {host}: {error}", f"host {host}", login_command(site, host))
        raise HostUnreachable([problem]) from error
    return client


def _notice_silence(client: paramiko.SSHClient) -> None:
    """A host that vanishes sends no farewell: keep something in flight, and limit how long it may be unanswered."""
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(SILENT_SECONDS // 2)
    if isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
