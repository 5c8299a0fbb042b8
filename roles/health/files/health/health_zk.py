"""The four requests to ZooKeeper a host needs, over one connection: create, read, delete, say goodbye.

ZooKeeper's own protocol (jute: big-endian, length before each string), so that no package has to be on the host.
Nodes made here are persistent: they outlast the session, which lasts as long as the connection.
"""

from __future__ import annotations

import socket
import struct
from typing import Optional, Sequence, Tuple

CREATE, DELETE, READ, CLOSE = 1, 2, 4, -11
NO_NODE, BAD_VERSION, NODE_EXISTS = -101, -103, -110
_SESSION_MS = 10000
_STAT_VERSION = 8 * 4  # czxid, mzxid, ctime, mtime come before it
_LARGEST = 1 << 20


class Trouble(Exception):
    """Nobody answered, or not as ZooKeeper does. Whether a request was carried out is not known then."""


class Client:
    """A session with the first member that takes one. Raises Trouble when none does."""

    def __init__(self, members: Sequence[str], timeout: float) -> None:
        self._xid = 0
        said = []
        for member in members:
            host, _, port = member.rpartition(":")
            try:
                self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
                # protocol 0, no zxid seen, session 0 with its 16 bytes of password; not read-only: a part of the
                # ensemble without a quorum must refuse
                self._send(struct.pack(">iqiqi16s?", 0, 0, _SESSION_MS, 0, 16, b"", False))
                if struct.unpack(">ii", self._receive()[:8])[1] <= 0:
                    raise Trouble("gave no session")
                return
            except (OSError, Trouble, struct.error) as error:
                said.append(f"{member}: {error}")
        raise Trouble("; ".join(said) or "no member is known")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._send(struct.pack(">ii", self._xid + 1, CLOSE))
        except (OSError, Trouble):
            pass
        self._socket.close()

    def create(self, path: str, data: bytes) -> bool:
        """False when it is there already. Raises Trouble, also when what is above it is missing."""
        everybody = struct.pack(">ii", 1, 31) + _text("world") + _text("anyone")
        code, _ = self._ask(CREATE, _text(path) + _bytes(data) + everybody + struct.pack(">i", 0))
        if code not in (0, NODE_EXISTS):
            raise Trouble(f"create {path}: error {code}")
        return code == 0

    def read(self, path: str) -> Optional[Tuple[bytes, int]]:
        """(data, version), None without such a node."""
        code, body = self._ask(READ, _text(path) + b"\0")
        if code == NO_NODE:
            return None
        if code:
            raise Trouble(f"read {path}: error {code}")
        size = max(0, struct.unpack_from(">i", body)[0])
        return body[4 : 4 + size], struct.unpack_from(">i", body, 4 + size + _STAT_VERSION)[0]

    def delete(self, path: str, version: int) -> bool:
        """False when it was gone, or is another version."""
        code, _ = self._ask(DELETE, _text(path) + struct.pack(">i", version))
        if code not in (0, NO_NODE, BAD_VERSION):
            raise Trouble(f"delete {path}: error {code}")
        return code == 0

    def _ask(self, kind: int, body: bytes) -> Tuple[int, bytes]:
        self._xid += 1
        try:
            self._send(struct.pack(">ii", self._xid, kind) + body)
            answer = self._receive()
            xid, _, code = struct.unpack_from(">iqi", answer)
        except (OSError, struct.error) as error:
            raise Trouble(str(error)) from error
        if xid != self._xid:
            raise Trouble(f"answer {xid} came for question {self._xid}")
        return code, answer[16:]

    def _send(self, packet: bytes) -> None:
        self._socket.sendall(_bytes(packet))

    def _receive(self) -> bytes:
        size = struct.unpack(">i", self._exactly(4))[0]
        if not 0 <= size <= _LARGEST:
            raise Trouble("not an answer of ZooKeeper's")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise Trouble("the connection was closed")
            data += part
        return data


def _bytes(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _text(text: str) -> bytes:
    return _bytes(text.encode())
