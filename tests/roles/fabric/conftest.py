"""The role's modules, loaded as Ansible would: their module_utils under Ansible's own name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "fabric"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rdma_ports() -> ModuleType:
    name = "ansible.module_utils.dsdeploy_fabric_kind"
    sys.modules[name] = load(ROLE / "module_utils" / "dsdeploy_fabric_kind.py", name)
    return load(ROLE / "library" / "rdma_ports.py", "rdma_ports")


@pytest.fixture(scope="session")
def kernel_modules() -> ModuleType:
    return load(ROLE / "library" / "kernel_modules.py", "kernel_modules")


@pytest.fixture(scope="session")
def signing_key() -> ModuleType:
    name = "ansible.module_utils.dsdeploy_openpgp"
    sys.modules[name] = load(ROLE / "module_utils" / "dsdeploy_openpgp.py", name)
    return load(ROLE / "library" / "signing_key.py", "signing_key")


@pytest.fixture(scope="session")
def package_guard() -> ModuleType:
    name = "ansible.module_utils.dsdeploy_serving"
    sys.modules[name] = load(ROLE / "module_utils" / "dsdeploy_serving.py", name)
    return load(ROLE / "library" / "package_guard.py", "package_guard")
