"""Tunnels through SSH, against a server in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from dsdeploy import ssh
from dsdeploy.site import Site, load

SITE = """\
site: t
ssh: {{user: me, port: {port}, identity: key, known_hosts: known}}
stack: cpu
hosts:
  gw1: {{address: 127.0.0.1, roles: [router, engine, zookeeper]}}
model: {{name: m, version: v1, source: /mnt/weights}}
"""


class Login(paramiko.ServerInterface):
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_direct_tcpip_request(self, number: int, origin: object, destination: tuple[str, int]) -> int:
        return paramiko.OPEN_SUCCEEDED if destination[1] != 1 else paramiko.OPEN_FAILED_CONNECT_FAILED


class Server:
    """An SSH server whose forwarded connections answer in capitals."""

    def __init__(self) -> None:
        self.key = paramiko.RSAKey.generate(2048)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.logins: list[paramiko.Transport] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(peer)
            transport.add_server_key(self.key)
            self.logins.append(transport)
            try:
                transport.start_server(server=Login())
            except (paramiko.SSHException, EOFError):
                continue
            threading.Thread(target=self.answer, args=(transport,), daemon=True).start()

    def answer(self, transport: paramiko.Transport) -> None:
        while transport.is_active():
            channel = transport.accept(1)
            if channel:
                threading.Thread(target=self.shout, args=(channel,), daemon=True).start()

    def shout(self, channel: paramiko.Channel) -> None:
        while data := channel.recv(4096):
            channel.sendall(data.upper())
        channel.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    for transport in server.logins:
        transport.close()


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Site:
    server.logins.clear()
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "key"))
    trust(tmp_path, server, server.key)
    (tmp_path / "site.yml").write_text(SITE.format(port=server.port))
    return load(tmp_path / "site.yml")


def trust(folder: Path, server: Server, key: paramiko.PKey) -> None:
    (folder / "known").write_text(f"[127.0.0.1]:{server.port} {key.get_name()} {key.get_base64()}\n")


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def ask(port: int, text: bytes) -> bytes:
    """The answer of the far end; empty when the connection was closed."""
    with connect(port) as end:
        try:
            end.sendall(text)
            return end.recv(4096)
        except ConnectionError:
            return b""


def test_ssh_begins_with_first_use_and_is_shared(site: Site, server: Server) -> None:
    with ssh.tunnels(site, ["gw1"], 2181) as tunnels:
        assert server.logins == []
        assert [ask(tunnels.ports[0], text) for text in (b"one", b"two")] == [b"ONE", b"TWO"]
        assert len(server.logins) == 1 and tunnels.problems == []


def test_a_broken_login_is_made_again(site: Site, server: Server) -> None:
    with ssh.tunnels(site, ["gw1"], 2181) as tunnels, connect(tunnels.ports[0]) as end:
        end.sendall(b"one")
        assert end.recv(9) == b"ONE"
        server.logins[0].close()
        assert end.recv(9) == b""
        answers = iter(lambda: ask(tunnels.ports[0], b"two"), b"TWO")
        assert all(answer == b"" for answer, _ in zip(answers, range(20), strict=False))
        assert len(server.logins) == 2


def test_an_unknown_host_key_is_refused_and_said(site: Site, server: Server, tmp_path: Path) -> None:
    trust(tmp_path, server, paramiko.RSAKey.generate(2048))
    with ssh.tunnels(site, ["gw1"], 2181) as tunnels:
        assert ask(tunnels.ports[0], b"one") == b""
        assert [problem.where for problem in tunnels.problems] == ["host gw1"]
        assert "does not match" in tunnels.problems[0].what and tunnels.problems[0].hint.startswith("ssh -p")


def test_a_closed_port_behind_it_is_no_problem_of_ssh(site: Site, server: Server) -> None:
    with ssh.tunnels(site, ["gw1"], 1) as tunnels:
        assert ask(tunnels.ports[0], b"one") == b"" and ask(tunnels.ports[0], b"two") == b""
        assert tunnels.problems == [] and len(server.logins) == 1


def test_dropping_ends_what_is_open_and_keeps_the_port(site: Site) -> None:
    with ssh.tunnels(site, ["gw1"], 2181) as tunnels:
        with connect(tunnels.ports[0]) as end:
            end.sendall(b"one")
            assert end.recv(9) == b"ONE"
            tunnels.drop()
            assert end.recv(9) == b""
        assert ask(tunnels.ports[0], b"two") == b"TWO"


def test_afterwards_nothing_listens(site: Site) -> None:
    with ssh.tunnels(site, ["gw1"], 2181) as tunnels:
        port = tunnels.ports[0]
    with pytest.raises(ConnectionRefusedError):
        connect(port)
