"""The packages NVIDIA's repositories would offer for an order: true names and versions, empty payloads.

Made from dsdeploy's own order for a stack on a distribution, so that a name or version that changes there changes
here. Payloads are empty but for what reports a version: small real libraries made with gcc, and scripts, `nvcc` and
`nv-fabricmanager`. Dependencies are of the kind real ones are: a metapackage asks for its parts by `>=`, parts of a
driver for each other by `=`, two kinds of kernel modules exclude each other. Fabric Managers have the relations of
NVIDIA's own packaging (yum- and apt-packaging-fabric-manager), and all own the same program.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

Order = dict[str, Any]
NEWER = {"580": ("580.999.01", "590.48.01"), "570": ("570.211.01",), "535": ("535.999.01",), "470": ("470.999.01",)}


@dataclass(frozen=True)
class Package:
    """`version` is without the release; `needs` are (name, relation, version); `files` path -> content."""

    name: str
    version: str
    needs: tuple[tuple[str, str, str], ...] = ()
    excludes: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()  # rpm alone; deb says it with the names it excludes
    files: dict[str, bytes] = field(default_factory=dict, compare=False, hash=False)
    stream: str = ""


@cache
def library(soname: str, function: str, number: int) -> bytes:
    """A shared library whose function tells this number, as cuDNN (by value) and NCCL (by pointer) do."""
    folder = Path(mkdtemp(prefix="dsdeploy-so-"))
    body = f"int {function}(int *out) {{ *out = {number}; return 0; }}" if function == "ncclGetVersion" else (
        f"unsigned long {function}(void) {{ return {number}UL; }}")  # fmt: skip
    (folder / "l.c").write_text(body)
    words = ["gcc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{soname}", "-o", str(folder / "l.so"), str(folder / "l.c")]
    subprocess.run(words, check=True, capture_output=True)
    return (folder / "l.so").read_bytes()


def parts(name: str, version: str, branch: str, family: str, stream: str = "") -> list[Package]:
    """A driver's metapackage and what it pulls, at one version."""
    modules = "open" if "open" in name else "proprietary"
    suffix = f"-{branch}" if branch in name else ""
    kernel = f"nvidia-kernel-{modules}-dkms{suffix}" if family == "apt" else f"kmod-nvidia-{modules}-dkms{suffix}"
    rest = [f"nvidia-persistenced{suffix}", f"libnvidia-compute{suffix}", kernel]
    equal = tuple((one, "=", version) for one in rest)
    other = "proprietary" if modules == "open" else "open"
    excludes = {kernel: (kernel.replace(modules, other),), f"libnvidia-compute{suffix}": ("nvidia-anybranch-compute",)}
    provides = {f"libnvidia-compute{suffix}": ("nvidia-anybranch-compute",)}
    driver = f"nvidia-driver{suffix}"
    return [
        Package(name, version, ((driver, ">=", version), (kernel, ">=", version)), stream=stream),
        Package(driver, version, equal[:2], stream=stream),
        *(Package(one, version, (), excludes.get(one, ()), provides.get(one, ()), stream=stream) for one in rest),
    ]


def offered(told: Order, newer: bool = True) -> list[Package]:
    """Everything the repositories hold: what is ordered, what is newer, and the metapackages that drag a driver in."""
    family = "apt" if told["manager"] == "apt" else "rpm"
    branch, release = str(told["driver"]).split(".")[0], {"apt": "-1ubuntu1", "rpm": "-1"}[family]
    found: dict[tuple[str, str], Package] = {}
    extra = NEWER[branch] if newer else ()

    def add(package: Package) -> None:
        found.setdefault((package.name, package.version), package)

    for one in (one for step in told["steps"] for one in step):
        name, wanted = one["name"], one["version"]
        if wanted.rstrip("*").rstrip("-") == told["driver"]:
            for version in (told["driver"], *extra):
                meta = name.startswith(("nvidia-open", "cuda-drivers", "nvidia-driver-branch"))
                made = parts(name, version + release, branch, family, told["stream"]) if meta else [
                    _beside(name, version + release, family, told["stream"])]  # fmt: skip
                for package in made:
                    add(package)
        elif name.startswith("nvidia-driver-pinning"):
            add(Package(name, f"{branch}-1"))
        else:
            add(_library(told, name, "1.0-1" if wanted == "*" else wanted))
            if newer and wanted != "*":
                add(Package(name, _next(wanted)))
    for name in ("cuda", f"cuda-{_series(told)}"):
        add(Package(name, "99.0-1", (("nvidia-driver" if branch == "580" else next(
            n for n, _ in found if n.startswith("nvidia-driver")), ">=", "0"),)))  # fmt: skip
    return list(found.values())


def distinct(packages: Iterable[Package]) -> list[Package]:
    """One of each name and version, the first: a repository has one file of a name, whatever else it is to hold."""
    return list({(one.name, one.version, one.stream): one for one in reversed(list(packages))}.values())[::-1]


def _beside(name: str, version: str, family: str, stream: str) -> Package:
    """Fabric Manager or NSCQ: what has the driver's version and is no part of it."""
    if "fabric" not in name:
        return Package(name, version, stream=stream)
    script = f"#!/bin/sh\necho 'Fabric Manager version is : {version.rsplit('-', 1)[0]}'\n".encode()
    made = Package(name, version, files={"usr/bin/nv-fabricmanager": script}, stream=stream)
    if family == "apt":
        common = ("nvidia-fabricmanager",) if name != "nvidia-fabricmanager" else ()
        return replace(made, excludes=common, provides=common)
    if name == "nvidia-fabric-manager":
        return replace(made, provides=("nvidia-fabricmanager",), obsoletes=("nvidia-fabricmanager",))
    if name != "nvidia-fabricmanager":
        common = ("nvidia-fabricmanager-branch",)
        return replace(made, excludes=common, provides=common, obsoletes=("nvidia-fabricmanager",))
    return made


def next_branch(told: Order) -> Order:
    """The same order for the branch after it: what the next edition of stacks.yml may say."""
    driver = str(told["driver"])
    branch, newest = driver.split(".")[0], NEWER[driver.split(".")[0]][-1]
    text = json.dumps({name: told[name] for name in ("steps", "stream", "driver", "pins", "checks")})
    text = text.replace(driver, newest).replace(f"-{branch}", f"-{newest.split('.')[0]}")
    return {**told, **json.loads(text.replace(f":{branch}-", f":{newest.split('.')[0]}-"))}


def _next(version: str) -> str:
    """The same with a larger release: what an upgrade of the same line would be."""
    head, _, tail = version.partition("-")
    return f"{head}.9-{tail}"


def _series(told: Order) -> str:
    return next(one["name"] for step in told["steps"] for one in step if "toolkit" in one["name"]).split("toolkit-")[1]


def _library(told: Order, name: str, version: str) -> Package:
    files: dict[str, bytes] = {}
    expects = {check["what"]: check for check in told["checks"]}
    for what, own in (
        ("cudnn", ("libcudnn8", "libcudnn9-cuda-12", "libcudnn9-cuda-13")),
        ("nccl", ("libnccl", "libnccl2")),
    ):
        if name in own:
            check = expects[what]
            files[f"usr/lib/{check['library']}"] = library(check["library"], check["function"], int(check["expect"]))
    needs: tuple[tuple[str, str, str], ...] = ()
    if name.startswith("cuda-toolkit-"):
        series = _series(told)
        needs = ((f"cuda-nvcc-{series}", ">=", "0"),)
    return Package(name, version, needs, files=files)


def compilers(told: Order) -> list[Package]:
    """nvcc as a script: what the toolkit's metapackage pulls."""
    series = _series(told)
    dotted = series.replace("-", ".")
    script = f"#!/bin/sh\necho 'Cuda compilation tools, release {dotted}, V{dotted}.9'\n".encode()
    return [Package(f"cuda-nvcc-{series}", f"{dotted}.9-1", files={f"usr/local/cuda-{dotted}/bin/nvcc": script})]
