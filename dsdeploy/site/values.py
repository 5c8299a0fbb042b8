"""The typed values of a site file: each checks itself, and explains itself in the JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from dsdeploy.site import places, scalars

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*"
SITE = r"[a-z][a-z0-9_-]*"
USER = r"[a-z_][a-z0-9_-]*"
SHA512 = r"[0-9a-f]{128}"
IMAGE = r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*@sha256:[0-9a-f]{64}"


def _text(pattern: str, meaning: str, limit: int) -> Any:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": limit}
    return BeforeValidator(scalars.matching(pattern, meaning, limit)), WithJsonSchema(schema)


def _schema(kind: str, pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "pattern": pattern, "examples": list(examples)})


def _devices(value: Any) -> str | tuple[int, ...]:
    if value == "all":
        return "all"
    if not isinstance(value, (list, tuple)):
        given = scalars.described(value)
        scalars.wrong(f"{given} is neither 'all' nor a list of device numbers", "write all, or [0, 1]")
    devices = tuple(scalars.whole(item) for item in value)
    if not devices or len(set(devices)) < len(devices) or not all(0 <= item < 64 for item in devices):
        scalars.wrong("device numbers are 0 to 63, at least one, each once", "write all, or [0, 1]")
    return devices


_name = _text(NAME, "a name (letters, digits, '.', '_' and '-', starting with a letter or digit)", 64)
_site = _text(SITE, "a site name (lower-case letters, digits, '_' and '-', starting with a letter)", 32)
_user = _text(USER, "a user name", 32)
_sha512 = _text(SHA512, "a SHA-512 in lower-case hex (128 digits)", 128)
_image = _text(IMAGE, "an image by digest (registry/name@sha256: and 64 hex digits; tags move)", 300)

Identifier = Annotated[str, _name[0], _name[1]]
SiteName = Annotated[str, _site[0], _site[1]]
UserName = Annotated[str, _user[0], _user[1]]
Image = Annotated[str, _image[0], _image[1]]
Sha512 = Annotated[str, _sha512[0], _sha512[1]]

Whole = Annotated[int, BeforeValidator(scalars.whole)]
Fraction = Annotated[float, BeforeValidator(scalars.fraction)]
Flag = Annotated[bool, BeforeValidator(scalars.flag)]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(scalars.whole)]
# for services that do not start as root
OpenPort = Annotated[int, Field(ge=1024, le=65535), BeforeValidator(scalars.whole)]
MemberId = Annotated[int, Field(ge=1, le=255), BeforeValidator(scalars.whole)]
BatchSize = Annotated[int, Field(ge=1, le=4096), BeforeValidator(scalars.whole)]
Duration = Annotated[
    float,
    BeforeValidator(scalars.duration),
    _schema("string", r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$", "500ms", "10s", "5m", "1h"),
]
Age = Annotated[
    float,
    BeforeValidator(scalars.age),
    _schema("string", r"^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)|[0-9]{1,6}d)$", "10m", "26h", "8d"),
]
Size = Annotated[
    int,
    BeforeValidator(scalars.size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]{1,12}(B|KiB|MiB|GiB|TiB)?$"}],
         "examples": ["512KiB", "64MiB", "2GiB"]}
    ),
]  # fmt: skip
HostAddress = Annotated[
    str,
    BeforeValidator(places.host_address),
    _schema("string", "^[A-Za-z0-9:][A-Za-z0-9.:-]*$", "10.0.0.12", "fd00::12", "gpu1.example.net"),
]
IpAddress = Annotated[str, BeforeValidator(places.literal_ip), _schema("string", "^[0-9A-Fa-f.:]+$", "10.0.0.100")]
NetworkRange = Annotated[
    str, BeforeValidator(places.network), _schema("string", "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$", "10.0.0.0/16", "fd00::/8")
]
LocalPath = Annotated[
    Path, BeforeValidator(places.local_path), _schema("string", f"^{places.PATH}$", "id_ed25519", "~/.ssh/x")
]
Source = Annotated[
    str, BeforeValidator(places.source), _schema("string", f"^({places.URL}|/.*)$", "https://mirror/m/v1/")
]
Url = Annotated[str, BeforeValidator(places.url), _schema("string", f"^{places.URL}$", "https://mirror/a.tar.gz")]
Devices = Annotated[Literal["all"] | tuple[int, ...], BeforeValidator(_devices)]
