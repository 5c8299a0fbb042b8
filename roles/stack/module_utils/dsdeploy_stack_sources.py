"""The package manager's files about a stack: sources, keys, preferred versions, and what nightly upgrades leave alone.

Pure text, tied to paths by the module. Standard library, Python >= 3.8.
"""

from __future__ import annotations

import re
from typing import Dict, List, Mapping, Sequence

Entry = Mapping[str, str]

APT_KEYS, RPM_KEYS = "/etc/apt/keyrings", "/etc/pki/rpm-gpg"
APT_SOURCES, RPM_SOURCES = "/etc/apt/sources.list.d/dsdeploy-stack.list", "/etc/yum.repos.d/dsdeploy-stack.repo"
APT_COMPONENTS = "/etc/apt/sources.list.d/dsdeploy-components.sources"
PREFERENCES, UNATTENDED = "/etc/apt/preferences.d/dsdeploy-stack", "/etc/apt/apt.conf.d/52dsdeploy-stack"
FOLDERS = {"apt": ("/etc/apt/sources.list.d",), "dnf": ("/etc/yum.repos.d",), "yum": ("/etc/yum.repos.d",)}
HEADER = "# Written by dsdeploy (role stack); a change made here is lost with the next run.\n"


def key_path(manager: str, name: str) -> str:
    """apt reads packets from a `.gpg`; rpm imports armoured text only."""
    return "%s/dsdeploy-%s.gpg" % (APT_KEYS, name) if manager == "apt" else "%s/dsdeploy-%s.asc" % (RPM_KEYS, name)


def files(manager: str, repositories: Sequence[Entry], pins: Sequence[Entry], held: Sequence[str],
          foreign: Sequence[str], root: str = "/") -> Dict[str, str]:  # fmt: skip
    """Path to content. Neither apt nor dnf puts its root before a key's path, so that is done here."""
    keys = {one["key"]: root.rstrip("/") + key_path(manager, one["key"]) for one in repositories}
    if manager != "apt":
        return {RPM_SOURCES: HEADER + "\n".join(_section(one, keys[one["key"]]) for one in repositories)}
    return {
        APT_SOURCES: HEADER + "".join(_line(one, keys[one["key"]]) for one in repositories),
        PREFERENCES: HEADER + "".join(_pin(one) for one in pins),
        UNATTENDED: "//" + HEADER[1:] + _unattended(held, foreign),
    }


def _line(one: Entry, key: str) -> str:
    """A flat repository, as NVIDIA's are: packages beside their index."""
    return "deb [signed-by=%s] %s /\n" % (key, one["url"])


def _section(one: Entry, key: str) -> str:
    lines = [
        "[dsdeploy-%s]" % one["name"],
        "name=%s" % one["title"],
        "baseurl=%s" % one["url"],
        "enabled=1",
        "gpgcheck=1",
        "gpgkey=file://%s" % key,
    ]
    return "\n".join(lines) + "\n"


def _pin(one: Entry) -> str:
    """Above 1000: also where something newer is installed already, or offered by somebody else."""
    return "\nPackage: %(names)s\nPin: version %(version)s\nPin-Priority: 1001\n" % one


def _unattended(held: Sequence[str], foreign: Sequence[str]) -> str:
    """Names as the regular expressions that unattended-upgrades matches from a name's start."""
    rows = "".join('  "%s";\n' % expression(pattern, foreign) for pattern in held)
    return "Unattended-Upgrade::Package-Blacklist {\n%s};\n" % rows


def expression(pattern: str, foreign: Sequence[str] = ()) -> str:
    """A name pattern as a regular expression that ends where the name does, without the foreign names."""
    besides = "".join("(?!%s$)" % _plain(one) for one in foreign if "*" in pattern)
    return "%s%s$" % (besides, _plain(pattern))


def _plain(pattern: str) -> str:
    return "".join(".*" if part == "*" else part for part in re.split(r"(\*|\[[0-9-]*\])", pattern)).replace("+", "[+]")


def doubled(text: str, urls: Sequence[str]) -> bool:
    """Whether a source file names one of these repositories too: the same one twice is an error of apt's."""
    said = {
        word.rstrip("/") for line in text.splitlines() if not line.lstrip().startswith("#") for word in line.split()
    }
    said |= {word.split("=", 1)[1] for word in said if word.startswith("baseurl=")}
    return bool(said & {url.rstrip("/") for url in urls})


def replaced(names: Sequence[str], entries: Sequence[Entry]) -> List[str]:
    """Fingerprints among those given that a key of ours took the place of, by their short ids."""
    gone = [one["replaces"].upper() for one in entries if one.get("replaces")]
    return [name for name in names if any(name.endswith(short) for short in gone)]
