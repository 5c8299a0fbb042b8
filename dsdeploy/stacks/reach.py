"""Whether this computer's Ansible can manage a host's system at all, and with which Python there. Pure.

ansible-core's lowest Python on hosts: 2.16 has 2.7 and 3.6, 2.17 has 3.7, 2.18 and 2.19 have 3.8, later ones 3.9
(_PY_MIN of module_utils/basic.py in each wheel). yum went with 2.17; dnf's bindings on EL8 are for Python 3.6, which
2.21 calls from outside and 2.17 to 2.20 cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from dsdeploy.errors import Problem
from dsdeploy.facts import Interpreter, Os
from dsdeploy.facts.interpreter import USUAL
from dsdeploy.stacks import Host, place, versions
from dsdeploy.stacks.data import matrix

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading

EL7 = "pip install 'dsdeploy[el7]'"
FOCAL = "pip install 'ansible-core>=2.19,<2.20'"
# distribution -> (first core that cannot, first that can again, what helps)
CANNOT = {
    "centos7": ("2.17", "", EL7),
    "el8": ("2.17", "2.21", EL7),
    "ubuntu20.04": ("2.20", "", FOCAL),
}


def core() -> str:
    """The version of ansible-core beside this program."""
    return metadata.version("ansible-core")


def problem(system: Os, installed: str) -> Problem | None:
    """Why this ansible-core cannot manage that system, with the exact command that helps."""
    found = place.distribution(matrix(), Host(system.id, system.version_id))
    if found is None or found.key not in CANNOT:
        return None
    first, again, cure = CANNOT[found.key]
    if versions.older(installed, first) or (again and not versions.older(installed, again)):
        return None
    return Problem(f"ansible-core {installed} cannot manage {found.name}; 2.16 can" if cure == EL7 else
                   f"ansible-core {installed} cannot manage {found.name}; 2.19 can", "", cure)  # fmt: skip


def python(system: Os) -> str:
    """What to do where no Python is new enough, by system."""
    found = place.distribution(matrix(), Host(system.id, system.version_id))
    if found is not None and found.key == "centos7":
        return "yum install rh-python38, from https://vault.centos.org/7.9.2009/sclo/x86_64/rh/ or your mirror of it"
    if found is not None and found.key == "el8":
        return "dnf install python3.12"
    return "install the package python3"


def interpreters(readings: Mapping[str, Reading]) -> dict[str, str]:
    """Hosts whose Python is not at the usual place, with where it is."""
    found = {host: reading.get(Interpreter) for host, reading in readings.items()}
    return {host: told.path for host, told in found.items() if told and told.path not in ("", USUAL)}
