"""Reach a port behind hosts through SSH.

ZooKeeper's client port need not be open to the operator's computer. Each member gets a local
port; its SSH connection is made when that port is first used, and made again after it broke,
so that a client may go from member to member while they are restarted.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import paramiko

from dsdeploy.errors import HostUnreachable, Problem
from dsdeploy.site import Site
from dsdeploy.ssh.login import CHANNEL_SECONDS, connect

CHUNK = 65536


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
                    self._client = connect(self._site, self._host)
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
