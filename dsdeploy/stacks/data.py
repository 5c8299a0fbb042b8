"""stacks.yml as a Matrix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from dsdeploy.stacks import shipped
from dsdeploy.stacks.shapes import (
    Architecture,
    Branch,
    Caution,
    Check,
    Distribution,
    Driver,
    GpuModel,
    Install,
    Key,
    Matrix,
    Profile,
    Range,
    Repository,
    Runtime,
)
from dsdeploy.stacks.shipped import Part

T = TypeVar("T")


@cache
def matrix() -> Matrix:
    """The shipped matrix, read once. Raises ValueError with the place where the file is wrong."""
    top = shipped.read("stacks.yml")
    drivers = {name: _driver(name, part) for name, part in top.parts("drivers")}
    runtimes = {name: _runtime(name, part) for name, part in top.parts("runtimes")}
    found = Matrix(
        reviewed=top.text("reviewed"),
        distributions={name: _distribution(name, part) for name, part in top.parts("distributions")},
        elsewhere={name: _distribution(name, part) for name, part in top.parts("elsewhere")},
        keys={name: _key(name, part) for name, part in top.parts("keys")},
        repositories={name: _repository(name, part) for name, part in top.parts("repositories")},
        branches={name: _branch(name, part) for name, part in top.parts("branches")},
        architectures=tuple(_architecture(part) for part in top.rows("architectures")),
        gpus={name: _gpu(name, part) for name, part in top.parts("gpus")},
        cautions=tuple(_caution(part) for part in top.rows("cautions")),
        drivers=drivers,
        runtimes=runtimes,
        verify={name: _check(name, part) for name, part in top.parts("verify")},
        pairs={name: {version: one.raw() for version, one in part.all()} for name, part in top.parts("pairs")},
        profiles={name: _profile(name, part, drivers, runtimes) for name, part in top.parts("profiles")},
    )
    top.done()
    return found


def span(part: Part) -> Range:
    made = Range(part.text("from", ""), part.text("to", ""))
    part.done()
    return made


def _distribution(name: str, part: Part) -> Distribution:
    made = Distribution(
        key=name,
        name=part.text("name"),
        ids=part.texts("ids"),
        version=part.text("version"),
        family=part.text("family", ""),
        glibc=part.text("glibc", ""),
        python=part.text("python", ""),
        pythons=part.texts("pythons"),
        kernels=part.texts("kernels"),
        components=part.texts("components"),
        eol=part.text("eol", ""),
        note=part.text("note", ""),
        why=part.text("why", ""),
    )
    part.done()
    return made


def _key(name: str, part: Part) -> Key:
    made = Key(name, part.text("file"), part.text("fingerprint"), part.text("replaces", ""), part.text("note", ""))
    part.done()
    return made


def _repository(name: str, part: Part) -> Repository:
    kind = part.text("kind")
    if kind not in ("apt", "rpm"):
        raise ValueError(f"{part.where('kind')}: apt or rpm")
    made = Repository(
        key=name,
        kind="apt" if kind == "apt" else "rpm",
        url=part.text("url"),
        signed_by=part.text("key"),
        architectures=part.table("architectures"),
        key_url=part.text("key_url", ""),
        keyring=part.text("keyring", ""),
        sha256=part.text("sha256", ""),
    )
    part.done()
    return made


def _branch(name: str, part: Part) -> Branch:
    made = Branch(
        name,
        part.text("cuda", ""),
        part.texts("modules"),
        part.text("compute"),
        part.text("eol", ""),
        part.text("note", ""),
    )
    part.done()
    return made


def _architecture(part: Part) -> Architecture:
    ends = Range(part.text("from"), part.text("to"))
    made = Architecture(part.text("name"), ends, part.text("driver"), part.texts("modules"))
    part.done()
    return made


def _gpu(name: str, part: Part) -> GpuModel:
    made = GpuModel(name, part.text("compute"), part.flag("datacentre"), part.count("memory", 0), part.flag("nvlink5"),
                    tuple(int(number, 16) for number in part.texts("devices")))  # fmt: skip
    part.done()
    return made


def _caution(part: Part) -> Caution:
    made = Caution(part.text("gpu"), part.text("branch"), part.text("why"))
    part.done()
    return made


def _driver(name: str, part: Part) -> Driver:
    made = Driver(
        key=name,
        branch=part.text("branch"),
        version=part.text("version"),
        flavours={flavour: part.table(flavour) for flavour in ("open", "proprietary") if flavour in part},
        stream=part.table("stream"),
        fabric=part.table("fabric"),
        nvlink5=part.table("nvlink5"),
        first=part.texts("first"),
        note=part.text("note", ""),
    )
    part.done()
    return made


def _runtime(name: str, part: Part) -> Runtime:
    made = Runtime(
        key=name,
        cuda=part.text("cuda"),
        python=span(part.part("python")),
        glibc=part.text("glibc"),
        compute=part.text("compute", ""),
        driver=part.text("driver", ""),
        index=part.text("index", ""),
        note=part.text("note", ""),
    )
    part.done()
    return made


def _check(name: str, part: Part) -> Check:
    asked = {key: part.text(key, "") for key in ("command", "library", "function", "where")}
    made = Check(name, part.text("expect"), **asked)
    part.done()
    return made


def _profile(name: str, part: Part, drivers: Mapping[str, Driver], runtimes: Mapping[str, Runtime]) -> Profile:
    compat = part.part("compat")
    made = Profile(
        name=name,
        title=part.text("title"),
        installs={key: _install(key, one, drivers) for key, one in part.parts("installs")},
        runtimes=tuple(_known(part, runtimes, key) for key in part.texts("runtimes")),
        cuda=part.text("cuda", ""),
        minimum=part.text("minimum", ""),
        floor=part.text("floor", ""),
        own=part.text("own", ""),
        compute=span(part.part("compute")),
        compat=compat.text("package", ""),
        compat_branches=compat.texts("branches"),
        components=part.table("components"),
        notes=part.texts("notes"),
    )
    part.done()
    return made


def _install(name: str, part: Part, drivers: Mapping[str, Driver]) -> Install:
    key = part.text("driver", "")
    made = Install(
        distribution=name,
        none=part.text("none", ""),
        repositories=part.texts("repositories"),
        architectures=part.texts("architectures", ("x86_64",)),
        driver=_known(part, drivers, key) if key else None,
        toolkit=part.table("toolkit"),
        cudnn=part.table("cudnn"),
        nccl=part.table("nccl"),
        compat=part.table("compat"),
        notes=part.texts("notes"),
    )
    part.done()
    return made


def _known(part: Part, among: Mapping[str, T], key: str) -> T:
    if key not in among:
        raise ValueError(f"{part.where()}: {key} is not in this file")
    return among[key]
