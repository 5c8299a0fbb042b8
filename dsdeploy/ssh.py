"""Reach a port behind hosts through SSH, as the operator: a paramiko user, beside hosts.py.

ZooKeeper's client port need not be open to the operator's computer. Each member gets a local
port; its SSH connection is made when that port is first used, and made again after it broke,
so that a client may go from member to member while they are restarted. Host keys are checked,
an unknown one is refused.
"""

from __future__ import annotations

import logging
import select
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import paramiko

from dsdeploy.errors import HostUnreachable, Problem
from dsdeploy.site import Site

CHUNK, MOST_SAID = 65536, 8 << 20
CHANNEL_SECONDS = 5.0
SILENT_SECONDS = 10  # a peer that acknowledges nothing for so long is gone

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what fails is told by exceptions


def login_command(site: Site, host: str) -> str:
    """The ssh line an operator can try by hand."""
    words = ["ssh", "-p", str(site.ssh.port)]
    if site.ssh.identity:
        words += ["-i", str(site.ssh.identity)]
    if site.ssh.known_hosts:
        words += ["-o", f"UserKnownHostsFile={site.ssh.known_hosts}"]
    return shlex.join([*words, f"{site.ssh.user}@{site.hosts[host].address}", "true"])


class Tunnel:
    """A local port that leads to `port` on one host's own address."""

    def __init__(self, site: Site, host: str, port: int) -> None:
        self.problem: Problem | None = None  # why the last attempt to reach the host failed
        self._site, self._host, self._target = site, host, (site.hosts[host].address, port)
        self._client: paramiko.SSHClient | None = None
        self._connecting = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def drop(self) -> None:
        """End the connections that are open now; the port stays."""
        for local in tuple(self._open):
            _shut(local)

    def close(self) -> None:
        self._closed = True
        _shut(self._listener)  # wakes accept(), which close() alone does not
        self._listener.close()
        self.drop()
        if self._client:
            self._client.close()

    def _serve(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:  # the listener was closed: the tunnel is over
                return
            threading.Thread(target=self._carry, args=(local,), daemon=True).start()

    def _carry(self, local: socket.socket) -> None:
        """One connection, to its end. On failure the client sees it closed and tries elsewhere."""
        with local:
            self._open.add(local)
            try:
                with self._channel() as remote:
                    _pump(local, remote)
            except (HostUnreachable, paramiko.SSHException, EOFError, OSError):
                return
            finally:
                self._open.discard(local)

    def _channel(self) -> paramiko.Channel:
        transport = self._transport()
        try:
            return transport.open_channel("direct-tcpip", self._target, ("127.0.0.1", 0), timeout=CHANNEL_SECONDS)
        except paramiko.ChannelException:
            raise  # SSH works, the port behind it is closed: that member is down
        except (paramiko.SSHException, EOFError):
            transport.close()  # broken or silent: the next use makes a new one
            raise

    def _transport(self) -> paramiko.Transport:
        with self._connecting:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                if self._closed:
                    raise EOFError
                try:
                    self._client = _connect(self._site, self._host)
                except HostUnreachable as error:
                    self.problem = error.problems[0]
                    raise
                self.problem = None
                transport = self._client.get_transport()
            assert transport is not None
            return transport


class Tunnels:
    """The tunnels to some hosts, in their order."""

    def __init__(self, tunnels: Sequence[Tunnel]) -> None:
        self._tunnels = tuple(tunnels)
        self.ports = tuple(tunnel.port for tunnel in tunnels)

    @property
    def problems(self) -> list[Problem]:
        """Why SSH failed, for each host where the last attempt did."""
        return [tunnel.problem for tunnel in self._tunnels if tunnel.problem]

    def drop(self) -> None:
        """End all connections that are open now, so that the client goes on to another host."""
        for tunnel in self._tunnels:
            tunnel.drop()


@contextmanager
def tunnels(site: Site, hosts: Sequence[str], port: int) -> Iterator[Tunnels]:
    """A local port for each host, all leading to `port` there. No SSH happens before first use."""
    with ExitStack() as stack:
        made = []
        for host in hosts:
            made.append(Tunnel(site, host, port))
            stack.callback(made[-1].close)
        yield Tunnels(made)


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
                self._clients[host] = _connect(site, host)
            except HostUnreachable as error:
                problems += error.problems
        if problems:
            self.close()
            raise HostUnreachable(problems)

    def start(self, host: str, script: str) -> Running:
        """Start a POSIX shell script there. Raises HostUnreachable when the connection is gone."""
        try:
            transport = self._clients[host].get_transport()
            if transport is None:
                raise EOFError("the connection is closed")
            channel = transport.open_session(timeout=CHANNEL_SECONDS)
            channel.exec_command(shlex.join([*self._words, "sh", "-c", script]))
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise HostUnreachable([Problem(f"no SSH to {host}: {error}", f"host {host}")]) from error
        return Running(channel)

    def close(self) -> None:
        """End everything that still runs."""
        for client in self._clients.values():
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


def _pump(local: socket.socket, remote: paramiko.Channel) -> None:
    """Carry bytes both ways until either end closes."""
    while True:
        ready, _, _ = select.select([local.fileno(), remote.fileno()], [], [])
        if local.fileno() in ready:
            data = local.recv(CHUNK)
            if not data:
                return
            remote.sendall(data)
        if remote.fileno() in ready:
            data = remote.recv(CHUNK)
            if not data:
                return
            local.sendall(data)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        pass
