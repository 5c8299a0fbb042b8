"""restic spends half a second of processor time on the password at every call, by design. Most of these tests are not
about that: their repository's key file is one whose password costs nothing, made from the one that restic made.

Its format: https://restic.readthedocs.io/en/stable/100_references.html#keys-encryption-and-mac
"""

from __future__ import annotations

import base64
import json
import os
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

CHEAP = 2  # the least N that scrypt takes


def cheapen(repository: Path, password: str) -> None:
    """Put a key file with N = 2 in place of the repository's one."""
    (file,) = (repository / "keys").iterdir()
    key = json.loads(file.read_text())
    plain = _open(_derived(key, password), base64.b64decode(key["data"]))
    key["N"] = CHEAP
    key["data"] = base64.b64encode(_seal(_derived(key, password), plain)).decode()
    text = json.dumps(key)
    (file.parent / sha256(text.encode()).hexdigest()).write_text(text)
    file.unlink()


def _derived(key: dict[str, Any], password: str) -> bytes:
    salt = base64.b64decode(key["salt"])
    return scrypt(password.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], maxmem=1 << 30, dklen=64)


def _stream(derived: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(derived[:32]), modes.CTR(nonce)).encryptor().update(data)


def _tag(derived: bytes, nonce: bytes, data: bytes) -> bytes:
    # the nonce is one block, encrypted alone: what ECB is
    pad = Cipher(algorithms.AES(derived[32:48]), modes.ECB()).encryptor().update(nonce)
    return Poly1305.generate_tag(derived[48:64] + pad, data)


def _open(derived: bytes, sealed: bytes) -> bytes:
    nonce, data, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    assert _tag(derived, nonce, data) == tag, "this is not how restic seals a key"
    return _stream(derived, nonce, data)


def _seal(derived: bytes, plain: bytes) -> bytes:
    nonce = os.urandom(16)
    data = _stream(derived, nonce, plain)
    return nonce + data + _tag(derived, nonce, data)
