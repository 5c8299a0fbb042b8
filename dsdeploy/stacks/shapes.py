"""The shape of stacks.yml, as frozen values. Versions are text; packages are {name: version}."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Flavour = Literal["open", "proprietary"]
Packages = Mapping[str, str]


@dataclass(frozen=True)
class Range:
    """Both ends belong to it; an empty end is open."""

    lowest: str = ""
    highest: str = ""

    def __str__(self) -> str:
        return f"{self.lowest or 'any'} to {self.highest}" if self.highest else f"{self.lowest} or newer"


@dataclass(frozen=True)
class Distribution:
    """`why` is set on the ones that are known and not offered."""

    key: str
    name: str
    ids: tuple[str, ...]
    version: str
    family: str = ""
    glibc: str = ""
    python: str = ""
    pythons: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    eol: str = ""
    note: str = ""
    why: str = ""


@dataclass(frozen=True)
class Key:
    """A signing key: file name at its repository, full fingerprint, and the key it took the place of."""

    key: str
    file: str
    fingerprint: str
    replaces: str = ""
    note: str = ""


@dataclass(frozen=True)
class Repository:
    """`url` has a place `{arch}`, filled from `architectures`; `keyring` is the package that brings the key."""

    key: str
    kind: Literal["apt", "rpm"]
    url: str
    signed_by: str
    architectures: Mapping[str, str]
    key_url: str = ""
    keyring: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Branch:
    key: str
    cuda: str
    modules: tuple[str, ...]
    compute: str
    eol: str = ""
    note: str = ""


@dataclass(frozen=True)
class Architecture:
    """A generation of GPUs; `driver` is the first branch that knows it."""

    name: str
    compute: Range
    driver: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class GpuModel:
    """Memory in MiB, 0 where it differs between cards of the name; `devices` are numbers on the PCI bus."""

    name: str
    compute: str
    datacentre: bool
    memory: int = 0
    nvlink5: bool = False
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Caution:
    gpu: str
    branch: str
    why: str


@dataclass(frozen=True)
class Driver:
    """A branch as packaged for one family. `first` are packages to install in a step before the others."""

    key: str
    branch: str
    version: str
    flavours: Mapping[str, Packages]
    stream: Mapping[str, str] = field(default_factory=dict)
    fabric: Packages = field(default_factory=dict)
    nvlink5: Packages = field(default_factory=dict)
    first: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Runtime:
    """An engine's wheel and what it needs."""

    key: str
    cuda: str
    python: Range
    glibc: str
    compute: str = ""
    driver: str = ""
    index: str = ""
    note: str = ""


@dataclass(frozen=True)
class Check:
    """One proof: a command whose output holds `expect`, or a library's function that gives that number.

    `where` is `nvswitch` for what counts on such hosts only.
    """

    what: str
    expect: str
    command: str = ""
    library: str = ""
    function: str = ""
    where: str = ""

    def __str__(self) -> str:
        asked = self.command or f"{self.function} of {self.library}"
        return f"{self.what}: {asked} says {self.expect}" + (f", with {self.where}" if self.where else "")


@dataclass(frozen=True)
class Install:
    """One profile on one distribution; `none` says why it cannot be, and then the rest is empty."""

    distribution: str
    none: str = ""
    repositories: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("x86_64",)
    driver: Driver | None = None
    toolkit: Packages = field(default_factory=dict)
    cudnn: Packages = field(default_factory=dict)
    nccl: Packages = field(default_factory=dict)
    compat: Packages = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A stack. `minimum` is the oldest driver by minor-version compatibility, `own` the toolkit's, `floor` ours."""

    name: str
    title: str
    installs: Mapping[str, Install]
    runtimes: tuple[Runtime, ...]
    cuda: str = ""
    minimum: str = ""
    floor: str = ""
    own: str = ""
    compute: Range = Range()
    compat: str = ""
    compat_branches: tuple[str, ...] = ()
    components: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """All of stacks.yml. `reviewed` is the day its dates are compared with."""

    reviewed: str
    distributions: Mapping[str, Distribution]
    elsewhere: Mapping[str, Distribution]
    keys: Mapping[str, Key]
    repositories: Mapping[str, Repository]
    branches: Mapping[str, Branch]
    architectures: tuple[Architecture, ...]
    gpus: Mapping[str, GpuModel]
    cautions: tuple[Caution, ...]
    drivers: Mapping[str, Driver]
    runtimes: Mapping[str, Runtime]
    verify: Mapping[str, Check]
    pairs: Mapping[str, Mapping[str, Mapping[str, object]]]
    profiles: Mapping[str, Profile]
