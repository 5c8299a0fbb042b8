"""Debian's `contrib` on hosts that do not ask for it: whose mirrors, trusted how, and what the real apt makes of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from .conftest import Key, told
from .debs import Root

sources = sys.modules["stack_sources"]
components = sys.modules["ansible.module_utils.dsdeploy_stack_components"]

LIST = """# a comment
deb http://mirror.example.org/debian bookworm main  # the distribution
deb-src http://mirror.example.org/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg] http://security.example.org/debian-security bookworm-security main
deb https://apt.releases.example.net bookworm main
"""
INLINE = """Types: deb deb-src
URIs: http://192.0.2.7/debian
Suites: bookworm bookworm-updates
Components: main non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://192.0.2.8/debian
Suites: bookworm
Components: main contrib
"""


def test_the_hosts_own_mirrors_are_asked_and_trusted_as_they_are() -> None:
    found = components.added({"/etc/apt/sources.list": LIST}, "bookworm", ["contrib"])
    assert found == (
        "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: bookworm\nComponents: contrib\n\n"
        "Types: deb\nURIs: http://security.example.org/debian-security\nSuites: bookworm-security\n"
        "Architectures: amd64\nSigned-By: /etc/apt/keyrings/x.gpg\nComponents: contrib\n"
    )
    inline = components.added({"/etc/apt/sources.list.d/debian.sources": INLINE}, "bookworm", ["contrib"])
    assert inline.count("URIs:") == 1 and "192.0.2.7" in inline and "\n -----BEGIN PGP" in inline, "one is switched off"
    assert "Suites: bookworm bookworm-updates\n" in inline and "main" not in inline


@pytest.mark.parametrize(
    "texts",
    [
        {"/etc/apt/sources.list": LIST.replace("bookworm main  #", "bookworm main contrib #")},
        {"/a.sources": INLINE.replace("Enabled: no", "Enabled: yes")},
        {"/a.list": LIST, "/b.list": "deb http://192.0.2.9/debian bookworm contrib\n"},
        {"/a.list": "deb https://apt.releases.example.net bookworm main\n"},
        {"/a.list": "deb http://mirror.example.org/debian trixie main\n"},
        {"/a.list": "deb http://192.0.2.1/debian/ /\ndeb\ndeb [x\n", "/b.sources": "no stanza\n:\n : \nTypes\n"},
        {},
    ],
    ids=range(7),
)
def test_nothing_is_added_where_it_is_there_or_nothing_of_the_distribution_is(texts: dict[str, str]) -> None:
    assert components.added(texts, "bookworm", ["contrib"]) == ""


@pytest.mark.parametrize("form", ["list", "sources"])
def test_the_real_apt_takes_it_beside_the_hosts_own_sources_and_it_goes_once_they_have_it(
    form: str, tmp_path: Path, key: Key
) -> None:
    root = Root(tmp_path / "root")
    keyring = root.path / "etc/apt/debian.asc"
    keyring.write_text(key.public)
    own = root.path / f"etc/apt/sources.list.d/debian.{form}"
    texts = {
        "list": f"deb [signed-by={keyring}] http://192.0.2.7/debian bookworm main\n",
        "sources": "Types: deb\nURIs: http://192.0.2.7/debian\nSuites: bookworm\nComponents: main\n"
        f"Signed-By: {keyring}\n",
    }
    own.write_text(texts[form])
    (root.path / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    order = told("cuda13", "debian12", "http://192.0.2.1/", key)
    assert order["components"] == ["contrib"]
    given = {"manager": "apt", "root": str(root.path), "foreign": [], "repositories": [], "pins": [], "held": []}
    given |= {"components": order["components"]}

    def asked() -> set[str]:
        return set(re.findall(r"dists/bookworm/([a-z]+)/binary-amd64", root.do("apt-get", "update", "--print-uris")))

    assert asked() == {"main"}
    paths = [one["path"] for one in sources.texts(given, check=False)]
    assert "/etc/apt/sources.list.d/dsdeploy-components.sources" in paths
    assert asked() == {"main", "contrib"}
    assert sources.texts(given, check=False) == []
    own.write_text(texts[form].replace("main", "main contrib"))
    (change,) = sources.texts(given, check=False)
    assert change["after"] == "" and not list(root.path.rglob("dsdeploy-components.sources"))
    assert sources.texts(given, check=False) == []


def test_other_distributions_are_asked_for_nothing(key: Key) -> None:
    assert "components" not in told("cuda13", "ubuntu24.04", "", key)
