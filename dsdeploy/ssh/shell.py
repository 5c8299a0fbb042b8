"""Scripts on hosts that must not outlive this end of their connection."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress

import paramiko

from dsdeploy.errors import HostUnreachable, Problem
from dsdeploy.site import Site
from dsdeploy.ssh.login import CHANNEL_SECONDS, connect

CHUNK, MOST_SAID = 65536, 8 << 20


class Running:
    """A script on a host, for as long as this end wants it: its stdin ends with the channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel, self.end = channel, channel.close

    def read(self, seconds: float) -> str:
        """All it prints, to its end; what there is so far when the time is up or the host is gone. Ends it."""
        limit, said, data = time.monotonic() + seconds, b"", b"-"
        with suppress(OSError, paramiko.SSHException):
            while data and len(said) < MOST_SAID:
                self._channel.settimeout(max(limit - time.monotonic(), 0.01))
                data = self._channel.recv(CHUNK)
                said += data
        self.end()
        return said.decode("utf-8", errors="replace")


class Shells:
    """SSH to some hosts, over which scripts run that must not outlive it. Raises HostUnreachable with all it cannot."""

    def __init__(self, site: Site, hosts: Sequence[str]) -> None:
        self._words = [] if site.ssh.user == "root" else ["sudo", "-n"]
        self._clients: dict[str, paramiko.SSHClient] = {}
        problems: list[Problem] = []
        for host in hosts:
            try:
                self._clients[host] = connect(site, host)
            except HostUnreachable as error:
                problems += error.problems
        if problems:
            self.close()
            raise HostUnreachable(problems)

    def start(self, host: str, script: str, told: str = "") -> Running:
        """Start a POSIX shell script there; `told` is a line it reads, which no list of processes shows.

        Raises HostUnreachable when the connection is gone.
        """
        try:
            transport = self._clients[host].get_transport()
            if transport is None:
                raise EOFError("the connection is closed")
            channel = transport.open_session(timeout=CHANNEL_SECONDS)
            channel.exec_command(shlex.join([*self._words, "sh", "-c", script]))
            if told:
                channel.sendall(f"{told}\n".encode())
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise HostUnreachable([Problem(f"no SSH to {host}: {error}", f"host {host}")]) from error
        return Running(channel)

    def close(self) -> None:
        """End everything that still runs."""
        for client in self._clients.values():
            client.close()
