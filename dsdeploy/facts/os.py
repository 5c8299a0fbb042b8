"""The operating system a host runs."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number

_DEBIAN = {"debian", "ubuntu"}
_REDHAT = {"rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn"}


@dataclass(frozen=True)
class Os:
    """`python` is the version of python3 on the path, "" without one; `cpus` counts usable cores."""

    id: str
    version_id: str
    family: str  # debian | redhat | other
    arch: str
    kernel: str
    glibc: str
    python: str
    cpus: int


class OsFact(Fact[Os]):
    value = Os

    def command(self) -> str:
        return """
for f in /etc/os-release /usr/lib/os-release; do [ -r $f ] && cat $f && break; done
echo "_arch=$(uname -m)"
echo "_kernel=$(uname -r)"
echo "_glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null)"
echo "_cpus=$(nproc 2>/dev/null)"
command -v python3 >/dev/null && echo "_python=$(python3 -V 2>&1)"
"""

    def process(self, output: list[str]) -> Os:
        found: dict[str, str] = {}
        for line in output:
            name, equals, value = line.partition("=")
            if equals:
                found[name.strip()] = value.strip().strip("\"'")
        return Os(
            id=found.get("ID", "").lower(),
            version_id=found.get("VERSION_ID", ""),
            family=_family(found),
            arch=found.get("_arch", ""),
            kernel=found.get("_kernel", ""),
            glibc=found.get("_glibc", "").removeprefix("glibc").strip(),
            python=found.get("_python", "").removeprefix("Python").strip(),
            cpus=number(found.get("_cpus", "")) or 0,
        )


def _family(found: dict[str, str]) -> str:
    names = {found.get("ID", "").lower(), *found.get("ID_LIKE", "").lower().split()}
    if names & _DEBIAN:
        return "debian"
    return "redhat" if names & _REDHAT else "other"
