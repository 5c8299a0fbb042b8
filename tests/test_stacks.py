"""The judge against a table of combinations, and the data it judges by against its own rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import site as sites
from dsdeploy.stacks import Gpu, Host, Profile, Verdict, catalogue, fits, judge, matrix, pair, versions, worst
from dsdeploy.stacks.shapes import Install
from dsdeploy.stacks.verify import checks

FOLDER = Path(__file__).parent / "stacks"
COMBINATIONS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "combinations.yml").read_text(encoding="utf-8"))
MEMORY: list[dict[str, Any]] = yaml.safe_load((FOLDER / "memory.yml").read_text(encoding="utf-8"))
M = matrix()
OFFERED = [
    pytest.param(profile, install, id=f"{profile.name}-{key}")
    for profile in M.profiles.values()
    for key, install in profile.installs.items()
    if not install.none and profile.cuda
]


def cards(count: int, name: str, compute: str = "") -> tuple[Gpu, ...]:
    return (Gpu(name, compute),) * count


def host(row: dict[str, Any]) -> Host:
    """The distribution's own, with the fields the row names in place of it."""
    place = M.distributions.get(row.get("host", ""))
    made = Host(id=row.get("id", ""), version=row.get("version", ""))
    if place:
        made = Host(place.ids[0], place.version, f"{place.kernels[0]}.0-1", place.glibc, place.python)
    own = {one.name for one in fields(Host)} - {"gpus"}
    gpus = (*(cards(*row["gpus"]) if row["gpus"] else ()), *(cards(*row["more"]) if "more" in row else ()))
    return replace(made, gpus=gpus, **{key: value for key, value in row.items() if key in own})


def reasons(found: tuple[Verdict, ...], level: str = "") -> str:
    return " | ".join(one.why for one in found if level in ("", one.level))


@pytest.mark.parametrize("row", COMBINATIONS, ids=lambda row: f"{row['stack']}: {row['case']}")
def test_a_combination_is_judged(row: dict[str, Any]) -> None:
    found = judge(M.profiles[row["stack"]], host(row))
    assert worst(found) == row["level"], found
    for word in row.get("says", ()):
        assert word in reasons(found, row["level"])
    for word in row.get("also", ()):
        assert word in reasons(found)
    for word in row.get("not", ()):
        assert word not in reasons(found, row["level"])
    assert {one.nearest for one in found if one.level == "error"} <= {row.get("nearest", "")}
    assert all(one.nearest == "" for one in found if one.level != "error")


def test_the_table_is_large_and_has_each_verdict() -> None:
    assert len(COMBINATIONS) >= 60 and len({row["case"] for row in COMBINATIONS}) == len(COMBINATIONS)
    assert {row["level"] for row in COMBINATIONS} == {"ok", "warn", "error"}
    assert {row["stack"] for row in COMBINATIONS} == set(M.profiles)
    assert {row.get("host") for row in COMBINATIONS} >= set(M.distributions)


@pytest.mark.parametrize("row", MEMORY, ids=lambda row: f"{row['model']}-{row['precision']}-{row['gpus'][:2]}")
def test_a_model_fits_or_not(row: dict[str, Any]) -> None:
    count, name, mib = row["gpus"]
    found = fits(catalogue()[row["model"]], row["precision"], [Gpu(name, "", mib * 2**20)] * count)
    assert worst(found) == row["level"], found
    for word in row.get("says", ()):
        assert word in reasons(found)
    if "nearest" in row:
        assert {one.nearest for one in found if one.level == "error"} == {row["nearest"]}


def test_the_smallest_gpu_decides() -> None:
    model = catalogue()["deepseek-r1-distill-llama-8b"]
    gpus = [Gpu("NVIDIA A100-SXM4-80GB", "", 80 * 2**30), Gpu("NVIDIA A30", "", 6 * 2**30)]
    assert worst(fits(model, "bf16", gpus)) == "error" and worst(fits(model, "bf16", gpus[:1])) == "ok"


@pytest.mark.parametrize(
    ("library", "version", "cuda", "level", "words"),
    [
        ("cudnn", "8.2", "11.6", "warn", ["not in the matrix"]),
        ("cudnn", "8.2.4", "11.6", "warn", ["10.2 to 11.4", "8.2.4.15-1+cuda11.4", "cudnn 8.4.1"]),
        ("cudnn", "8.2.4.15", "11.4", "ok", ["8.2.4.15-1+cuda11.4"]),
        ("cudnn", "8.4.1", "11.6", "ok", ["8.4.1.50-1+cuda11.6"]),
        ("cudnn", "8.9.7.29", "12.2", "ok", ["8.9.7.29-1+cuda12.2"]),
        ("tensorrt", "8.6.1", "11.6", "ok", []),
        ("tensorrt", "8.6.1", "12.8", "warn", ["11.0 to 12.1"]),
        ("torch", "1.12.1", "11.6", "warn", ["lists CUDA 10.2", "torch 1.12.1+cu116"]),
        ("torch", "1.12.1+cu116", "11.6", "ok", []),
        ("torch", "2.14.0", "13.0", "ok", []),
        ("libfoo", "1", "13.0", "warn", ["not in the matrix"]),
    ],
)
def test_a_library_is_paired_with_cuda(library: str, version: str, cuda: str, level: str, words: list[str]) -> None:
    found = pair(library, version, cuda)
    assert found.level == level
    for word in words:
        assert word in f"{found.why} {found.nearest}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("470.57.02", "470.141.03"),
        ("9.4", "10"),
        ("3.9", "3.11"),
        ("580.65.06", "580.178.04"),
        ("8.9", "10.0"),
        ("2.9", "2.17"),
        ("12.8.1-1", "12.10"),
    ],
)
def test_versions_are_numbers(one: str, other: str) -> None:
    assert versions.older(one, other) and not versions.older(other, one)


def test_versions_that_say_nothing_are_not_older() -> None:
    assert not versions.older("", "1") and not versions.older("1", "unknown") and not versions.same("", "")
    assert versions.same("580.65.06", "580.65.6-0ubuntu1") and versions.same("13", "13.0")
    assert versions.series("5.14.0-427.el9", 2) == "5.14" and versions.series("x", 2) == ""


# -- the data itself


def test_each_stack_of_a_site_file_is_described() -> None:
    described = sites.Site.model_json_schema()["properties"]["stack"]["enum"]
    assert set(described) == set(M.profiles)


@pytest.mark.parametrize("profile", M.profiles.values(), ids=lambda one: one.name)
def test_a_profile_is_on_every_distribution_or_says_why_not(profile: Profile) -> None:
    assert set(profile.installs) == set(M.distributions)
    for install in profile.installs.values():
        assert (install.none == "") == bool(not profile.cuda or install.driver) or install.none
        assert not install.none or (len(install.none) > 20 and not install.repositories and install.driver is None)


def packages(install: Install) -> Iterator[tuple[str, str]]:
    assert install.driver
    groups = [
        install.toolkit,
        install.cudnn,
        install.nccl,
        install.compat,
        install.driver.fabric,
        install.driver.nvlink5,
    ]
    for group in (*groups, *install.driver.flavours.values()):
        yield from group.items()


NAMES = {
    "apt": r"cuda-(toolkit|compat)-\d+-\d+|cuda-drivers(-\d+)?|nvidia-(open(-\d+)?|driver-pinning-\d+)"
    r"|nvidia-fabricmanager(-\d+)?|nvlsm|libnvidia-nscq(-\d+)?|libnccl(2|-dev)|libcudnn8(-dev)?|libcudnn9-((dev|headers)-)?cuda-\d+",
    "rpm": r"cuda-(toolkit|compat)-\d+-\d+|cuda-drivers|nvidia-(open|driver-branch-\d+)"
    r"|nvidia-fabric-manager|nvidia-fabricmanager(-\d+)?|nvlsm|libnvidia-nscq(-\d+)?|libnccl(-devel)?|libcudnn8(-devel)?|libcudnn9-((devel|headers)-)?cuda-\d+",
}
VERSION = re.compile(r"\*|\d+(\.\d+){1,3}((-\d+)?([+.]cuda\d+\.\d+)?|-?\*)")


@pytest.mark.parametrize(("profile", "install"), OFFERED)
def test_packages_are_named_as_in_their_repository(profile: Profile, install: Install) -> None:
    family = "apt" if M.distributions[install.distribution].family == "debian" else "rpm"
    assert {M.repositories[key].kind for key in install.repositories} == {family}
    for name, version in packages(install):
        assert re.fullmatch(NAMES[family], name), name
        assert VERSION.fullmatch(version), (name, version)
        assert not re.fullmatch(r"cuda(-\d+-\d+)?", name), "the metapackage drags a driver in"
    for version in (*install.cudnn.values(), *install.nccl.values()):
        made_for = re.search(r"[+.]cuda(\d+\.\d+)", version)
        assert made_for is None or made_for[1] == profile.cuda
    assert {name: profile.cuda.replace(".", "-") in name for name in install.toolkit} == dict.fromkeys(
        install.toolkit, True
    )


@pytest.mark.parametrize(("profile", "install"), OFFERED)
def test_versions_agree_with_the_profile(profile: Profile, install: Install) -> None:
    driver = install.driver
    assert driver and versions.series(driver.version, 1) == driver.branch and driver.branch in M.branches
    assert not versions.older(driver.version, profile.floor)
    assert set(driver.flavours) <= set(M.branches[driver.branch].modules)
    assert set(driver.stream) <= set(driver.flavours) and set(driver.first) <= set(driver.flavours["proprietary"])
    for name, version in driver.fabric.items():
        assert versions.same(version, driver.version), f"{name} must follow the driver exactly"
    assert all(versions.series(v, 3) == profile.components["cudnn"] for v in install.cudnn.values())
    assert all(versions.series(v, 3) == profile.components["nccl"] for v in install.nccl.values())
    assert all(versions.series(v, 2) == profile.cuda for v in install.toolkit.values())
    assert install.nccl or any("libnccl2" in note for note in install.notes)


@pytest.mark.parametrize(("profile", "install"), OFFERED)
def test_a_repository_serves_the_architectures_of_its_packages(profile: Profile, install: Install) -> None:
    for key in install.repositories:
        assert set(install.architectures) <= set(M.repositories[key].architectures)


def test_repositories_are_https_and_their_keys_are_known() -> None:
    for repository in M.repositories.values():
        assert re.fullmatch(r"https://[a-z.]+/[A-Za-z0-9._/{}-]+/", repository.url) and "{arch}" in repository.url
        assert re.fullmatch(r"[0-9A-F]{40}", M.keys[repository.signed_by].fingerprint)
        assert bool(repository.keyring) == bool(repository.sha256) == (repository.kind == "apt")
        assert not repository.sha256 or re.fullmatch(r"[0-9a-f]{64}", repository.sha256)
        assert not repository.key_url or repository.key_url.startswith("https://")
    used = {key for p in M.profiles.values() for install in p.installs.values() for key in install.repositories}
    assert used == set(M.repositories) and {one.signed_by for one in M.repositories.values()} == set(M.keys)
    for key in M.keys.values():
        short = key.file.removesuffix(".pub").upper()
        assert not re.fullmatch("[0-9A-F]{8}", short) or key.fingerprint.endswith(short)


def test_every_set_of_packages_and_every_runtime_is_used() -> None:
    installs = [install for profile in M.profiles.values() for install in profile.installs.values()]
    assert {one.driver.key for one in installs if one.driver} == set(M.drivers)
    assert {runtime.key for profile in M.profiles.values() for runtime in profile.runtimes} == set(M.runtimes)


def test_architectures_leave_no_gap_for_a_known_gpu() -> None:
    for entry in M.gpus.values():
        homes = [
            one for one in M.architectures if versions.within(entry.compute, one.compute.lowest, one.compute.highest)
        ]
        assert len(homes) == 1 and homes[0].driver in M.branches


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H20", "H20"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H200 NVL", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA A2", "A2"),
        ("Tesla V100-PCIE-16GB", "V100"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("NVIDIA GeForce GTX 750", None),
    ],
)
def test_a_gpu_is_known_by_a_word_of_its_name(name: str, key: str | None) -> None:
    from dsdeploy.stacks import gpus

    found = gpus.model(M, name)
    assert (found.name if found else None) == key


def test_what_verifies_a_stack_names_its_versions() -> None:
    profile = M.profiles["legacy-cuda11.6"]
    found = {check.what: check for check in checks(M, profile, profile.installs["el8"])}
    assert (
        found["driver"].expect == "470.256.02" and found["toolkit"].command == "/usr/local/cuda-11.6/bin/nvcc --version"
    )
    assert (found["cudnn"].library, found["cudnn"].expect) == ("libcudnn.so.8", "8401")
    assert (found["nccl"].expect, found["fabric"].where) == ("21212", "nvswitch")
    modern = M.profiles["cuda13"]
    assert {c.what: c.expect for c in checks(M, modern, modern.installs["el9"])}["cudnn"] == "91701"
    assert "nccl" not in {check.what for check in checks(M, modern, modern.installs["debian12"])}
    assert not [
        c for one in (profile, modern) for i in one.installs.values() for c in checks(M, one, i) if "{" in str(c)
    ]


# -- the catalogue


def test_the_lab_model_weighs_what_the_lab_makes() -> None:
    from dsdeploy.lab import model, parameters
    from dsdeploy.lab.architecture import Architecture

    made = parameters.make(Architecture(vocab_size=model.VOCABULARY), 1, [5])
    count = sum(int(tensor.size) for tensor in made.values())
    tiny = catalogue()["deepseek-tiny"]
    assert tiny.parameters == count
    assert {name: one.bytes for name, one in tiny.precisions.items()} == {
        "bf16": count * 2,
        "f16": count * 2,
        "f32": count * 4,
    }


def llama(vocabulary: int, hidden: int, layers: int, inner: int, keys: int, head: int, bias: bool) -> int:
    """Parameters of a dense model with grouped keys, input and output embeddings apart."""
    wide = keys * head
    attention = 2 * hidden * hidden + 2 * hidden * wide + (hidden + 2 * wide if bias else 0)
    return 2 * vocabulary * hidden + layers * (attention + 3 * hidden * inner + 2 * hidden) + hidden


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("deepseek-r1-distill-qwen-1.5b", (151936, 1536, 28, 8960, 2, 128, True)),
        ("deepseek-r1-distill-qwen-7b", (152064, 3584, 28, 18944, 4, 128, True)),
        ("deepseek-r1-distill-llama-8b", (128256, 4096, 32, 14336, 8, 128, False)),
        ("deepseek-r1-distill-qwen-14b", (152064, 5120, 48, 13824, 8, 128, True)),
        ("deepseek-r1-distill-qwen-32b", (152064, 5120, 64, 27648, 8, 128, True)),
        ("deepseek-r1-distill-llama-70b", (128256, 8192, 80, 28672, 8, 128, False)),
    ],
)
def test_a_dense_model_has_the_parameters_of_its_dimensions(name: str, shape: Any) -> None:
    found = catalogue()[name]
    assert found.parameters == llama(*shape)
    assert {one.bytes for one in found.precisions.values()} == {found.parameters * 2}


def test_every_model_can_be_weighed() -> None:
    for model in catalogue().values():
        assert model.context >= 8192 and model.precisions and model.active <= model.parameters
        for precision in model.precisions.values():
            assert precision.least > 0 and precision.memory in (0, max(precision.memory, precision.bytes))
