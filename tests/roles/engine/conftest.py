"""The engine role's programs: none is a package, each is loaded from its file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "engine"
SERVER = ROLE / "files" / "llamacpp" / "server"
if str(SERVER) not in sys.path:
    sys.path.insert(0, str(SERVER))


def load(path: Path) -> ModuleType:
    name = f"engine_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def probe() -> ModuleType:
    return load(ROLE / "files" / "probe.py")


@pytest.fixture(scope="session")
def runtime() -> ModuleType:
    return load(ROLE / "files" / "runtime.py")


@pytest.fixture(scope="session")
def release_module() -> ModuleType:
    return load(ROLE / "library" / "release.py")


@pytest.fixture(scope="session")
def programs() -> ModuleType:
    return load(ROLE / "library" / "programs.py")


@pytest.fixture
def gguf(tmp_path: Path) -> Callable[[bytes], Path]:
    """A GGUF file with these bytes of metadata behind a header that announces the pairs."""

    def write(*pairs: bytes) -> Path:
        import struct

        path = tmp_path / "model.gguf"
        path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + b"".join(pairs))
        return path

    return write
