"""Reading an address, a path or a URL of a site file.

Every text is matched in full: a leading dash, ``..``, braces, quotes, blanks and
control characters cannot pass, so none of it can act as an option, leave its
folder or be templated.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from dsdeploy.site.scalars import cure, matching, spelled, wrong
from dsdeploy.text import shown

PATH = r"(?:~?/|[A-Za-z0-9_.])[A-Za-z0-9_.@+=,:/-]*"
URL = r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/(?:[A-Za-z0-9._~+=,@:/-]|%[0-9A-Fa-f]{2})*"
# ssh gets these quoted; % $ { } and quotes would be expanded or would end the quote
SAFE = r"[\w./@+=,:() ~-]"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def host_address(value: Any) -> str:
    text = spelled(value, "an IP address or a host name")
    literal = ip(text)
    if literal is not None:
        if literal.is_unspecified or literal.is_multicast or text == "255.255.255.255":
            wrong(f"{shown(text)} is not the address of one machine")
        return text
    labels = text.split(".")
    if len(text) > 253 or not all(re.fullmatch(LABEL, label, re.ASCII) for label in labels):
        wrong(f"{shown(text)} is neither an IP address nor a host name", cure(text))
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1]):
        wrong(
            f"{shown(text)} is not a valid IPv4 address",
            "four numbers of 0 to 255 without leading zeros, as in 10.0.0.12",
        )
    return text


def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a text spells, an IPv4-mapped one as IPv4; None for a host name or a zone such as %eth0."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def literal_ip(value: Any) -> str | None:
    if value is None:
        return None
    text = host_address(value)
    if ip(text) is None:
        wrong(f"{shown(text)} is a name; an IP address is expected")
    return text


def network(value: Any) -> str:
    """A range of addresses, or one address, in the one way to write it: 10.0.0.0/16, fd00::/8, 10.0.0.7/32."""
    text = spelled(value, "a network, as in 10.0.0.0/16")
    try:
        written = None if "%" in text else ipaddress.ip_interface(text)
    except ValueError:
        written = None
    if written is None or not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
        wrong(
            f"{shown(text)} is not a network",
            "write it as in 10.0.0.0/16 or fd00::/8; one address alone is a network too",
        )
    if written.network.prefixlen == 0:
        wrong(f"{shown(text)} is everybody", "name your own networks; without the section nothing is filtered")
    if written.ip != written.network.network_address:
        wrong(
            f"{shown(text)} is an address inside a network",
            f"write {written.network}, or {written.ip} for that one alone",
        )
    return str(written.network)


def local_path(value: Any, info: ValidationInfo) -> Path | None:
    """A path on the operator's disk, made absolute against the site file's folder (context ``base``)."""
    if value is None or isinstance(value, Path):
        return value
    text = plain_path(value)
    base: Path = (info.context or {}).get("base") or Path.cwd()
    try:
        path = base / (Path(text).expanduser() if text.startswith("~/") else text)
    except RuntimeError:  # neither HOME nor a passwd entry
        wrong("your home folder is not known", "write the whole path")
    if odd := sorted(set(re.sub(SAFE, "", str(path)))):
        wrong(
            f"lies in a folder whose name ssh would not read as it is: {shown(''.join(odd))}",
            "move the site file",
        )
    return path


def plain_path(value: Any) -> str:
    text = matching(PATH, "a plain path", 1024)(value)
    if not text or ".." in text.split("/") or "//" in text:
        wrong(f"{shown(text)} is not a plain path", cure(text))
    return text


def source(value: Any) -> str:
    text = spelled(value, "an http(s) URL or an absolute path")
    if text.startswith("/"):
        return plain_path(text)
    return url(text, "an http(s) URL or an absolute path", folder=True)


def url(value: Any, meaning: str = "an http(s) URL", folder: bool = False) -> str:
    text = matching(URL, meaning, 2048)(value)
    host, _, path = text.split("//", 1)[1].partition("/")
    if ".." in re.sub("%2[eE]", ".", path).split("/"):
        wrong(f"{shown(text)} steps out of its folder", "'..' is never followed: write the path out")
    host_address(re.sub(r":[0-9]+$", "", host).strip("[]"))
    if folder and not text.endswith("/"):
        wrong(f"{shown(text)} must be a folder", f"end it with a slash: {shown(text + '/')[1:-1]}")
    return text
