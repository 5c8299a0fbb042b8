"""A signing key, a web server, and orders that point at it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsdeploy.stacks import Host, matrix
from dsdeploy.stacks.order import Order, order

ROLE = Path(__file__).resolve().parents[3] / "roles" / "stack"
UTILS = (
    "openpgp", "serving", "stack_plan", "stack_components", "stack_sources", "stack_apt", "stack_rpm", "stack_proof",
)  # fmt: skip


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for util in UTILS:
    _load(f"ansible.module_utils.dsdeploy_{util}", ROLE / "module_utils" / f"dsdeploy_{util}.py")
for library in ("stack_sources", "stack_packages", "stack_proof"):
    _load(library, ROLE / "library" / f"{library}.py")


class Key:
    """A signing key in a keyring of its own."""

    def __init__(self, folder: Path, kind: str = "rsa2048") -> None:
        folder.mkdir(mode=0o700)
        self.words = ["gpg", "--homedir", str(folder), "--batch", "--yes", "--no-tty"]
        self._do("--passphrase", "", "--quick-gen-key", "dsdeploy tests", kind, "sign", "never")
        listed = self._do("--with-colons", "--list-keys")
        self.fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        self.public = self._do("--armor", "--export")
        self.folder = folder

    def _do(self, *words: str) -> str:
        return subprocess.run([*self.words, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key(tmp_path_factory.mktemp("gpg") / "home")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URL and folder of a site's mirror: everything below it by host and path."""
    folder = tmp_path_factory.mktemp("mirror")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder
    server.shutdown()


def told(profile: str, distribution: str, mirror: str, key: Key, **more: Any) -> Order:
    """The order for a host of this distribution, from this mirror, signed by this key."""
    known = matrix()
    place = known.distributions[distribution]
    found = order(known, known.profiles[profile], Host(place.ids[0], place.version, **more), mirror, nvswitch=True)
    assert found is not None
    for one in found["keys"]:
        one["fingerprint"] = key.fingerprint
    return found


def combinations(*managers: str) -> list[tuple[str, str]]:
    """Every profile with every distribution it has packages for, of these package managers."""
    known = matrix()
    return [
        (profile.name, name)
        for profile in known.profiles.values()
        for name, packages in profile.installs.items()
        if packages.driver and known.distributions[name].family in managers
    ]
