"""Whose key a file holds, read without a keyring and without gpg, which a small Debian host has not.

A file that holds the wanted key and another one beside it would make the package manager trust both: that is why
every primary key is read, not only the first. RFC 4880 and 9580; keys of version 4. Standard library, Python >= 3.8.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Iterator, List, Tuple

_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6
MOST_BYTES = 1 << 20


class NotAKey(Exception):
    """The file is no public key that can be read; the reason is the message."""


def dearmored(data: bytes) -> bytes:
    """Binary packets from a key file of either form; every block of an armoured one."""
    text = data.decode("latin-1")
    if _BEGIN not in text:
        return data
    packets = b""
    for block in text.split(_BEGIN)[1:]:
        lines = [line.strip() for line in block.split(_END)[0].splitlines()[1:]]
        if "" not in lines:
            raise NotAKey("its armour has no blank line after its headers")
        body = lines[lines.index("") + 1 :]
        try:
            packets += base64.b64decode("".join(line for line in body if line and not line.startswith("=")))
        except (binascii.Error, ValueError) as error:
            raise NotAKey("its armour is damaged: %s" % error) from error
    return packets


def fingerprints(data: bytes) -> List[str]:
    """The fingerprints of all primary keys in a key file, as 40 hex digits each. Raises NotAKey."""
    if len(data) > MOST_BYTES:
        raise NotAKey("it is larger than 1 MiB")
    found = [_fingerprint(body) for tag, body in _packets(dearmored(data)) if tag == _PUBLIC_KEY]
    if not found:
        raise NotAKey("it holds no OpenPGP key")
    return found


def _fingerprint(body: bytes) -> str:
    if body[:1] != b"\x04":
        raise NotAKey("it holds a key of another version than 4")
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


def _packets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, start, length = _header(data, at)
        if start + length > len(data):
            raise NotAKey("it is cut short")
        yield tag, data[start : start + length]
        at = start + length


def _header(data: bytes, at: int) -> Tuple[int, int, int]:
    """Tag, where the body starts, and how long it is."""
    first = data[at]
    if not first & 0x80:
        raise NotAKey("it is neither armoured text nor OpenPGP packets")
    try:
        if first & 0x40:
            return (first & 0x3F, *_new_length(data, at + 1))
        size = 1 << (first & 3)
        if size == 8:
            raise NotAKey("it has a packet without a length")
        body = data[at + 1 : at + 1 + size]
        return (first >> 2) & 0x0F, at + 1 + size, int.from_bytes(body, "big")
    except IndexError as error:
        raise NotAKey("it is cut short") from error


def _new_length(data: bytes, at: int) -> Tuple[int, int]:
    first = data[at]
    if first < 192:
        return at + 1, first
    if first < 224:
        return at + 2, ((first - 192) << 8) + data[at + 1] + 192
    if first == 255:
        return at + 5, int.from_bytes(data[at + 1 : at + 5], "big")
    raise NotAKey("it has a packet in parts")
