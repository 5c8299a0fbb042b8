"""From hosts and folders to keys: hardware, wheels, and what a site file may not ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsdeploy import release
from dsdeploy.errors import DsdeployError, PreflightError, SiteError
from dsdeploy.facts import Gpu, Gpus, Os, TensorRt
from dsdeploy.hosts import Reading
from dsdeploy.runtimes import hardware, wheels
from dsdeploy.site import Site, load

from .examples import HERE

OS = Os("ubuntu", "24.04", "debian", "x86_64", "6.8", "2.39", "3.12.3", 8)


def reading(host: str, driver: str = "580.95.05", name: str = "NVIDIA H200", tensorrt: str = "") -> Reading:
    gpus = Gpus(Gpu(index, name, f"GPU-{index}", 2**37, 0, driver, "9.0") for index in range(8))
    return Reading(host, True, values={Os: OS, Gpus: gpus, TensorRt: TensorRt(tensorrt, True)})


def site(runtime: str, stack: str = "cuda13", **engine: object) -> Site:
    hosts = {f"gpu{n}": {"address": f"10.0.0.{n}", "roles": ["engine"]} for n in (1, 2)}
    model = {"name": "deepseek-r1", "version": "v1", "source": "/w"}
    precision = {"llamacpp": "q8_0", "triton": "fp16"}.get(runtime, "fp8")
    given = {"runtime": runtime, "precision": precision, **engine}
    return Site.model_validate({"site": "s", "stack": stack, "model": model, "hosts": hosts, "engine": given})


def test_a_build_of_machine_code_names_gpu_and_driver() -> None:
    readings = {"gpu1": reading("gpu1"), "gpu2": reading("gpu2")}
    assert hardware.describe(site("vllm"), readings) == "x86_64 sm_9.0 NVIDIA H200 driver 580.95.05"
    assert hardware.describe(site("llamacpp"), readings) == "x86_64"


def test_a_plan_names_tensorrt_too() -> None:
    readings = {"gpu1": reading("gpu1", tensorrt="8601")}
    assert hardware.describe(site("triton"), readings).endswith("driver 580.95.05 tensorrt 8601")
    image = "r/t@sha256:" + "0" * 64
    assert hardware.describe(site("triton", image=image), readings).endswith(f"tensorrt {image}")


@pytest.mark.parametrize("other", [reading("gpu2", driver="575.1"), reading("gpu2", name="NVIDIA H100")])
def test_hosts_that_differ_cannot_have_one_build(other: Reading) -> None:
    with pytest.raises(PreflightError, match=r"cannot serve hosts that differ: gpu1: .*; gpu2: "):
        hardware.describe(site("sglang"), {"gpu1": reading("gpu1"), "gpu2": other})


def test_each_part_of_the_hardware_is_in_the_key() -> None:
    chosen = site("triton")
    keys = {
        release.decide(chosen, "sha256:aa", hardware.describe(chosen, {"gpu1": seen})).build_key
        for seen in (
            reading("gpu1", tensorrt="8601"), reading("gpu1", tensorrt="8602"),
            reading("gpu1", driver="575.1", tensorrt="8601"), reading("gpu1", name="NVIDIA H100", tensorrt="8601"),
        )
    }  # fmt: skip
    workspace = release.decide(site("triton", workspace="2GiB"), "sha256:aa", "x").build_key
    assert len(keys) == 4 and workspace != release.decide(chosen, "sha256:aa", "x").build_key


def test_only_runtimes_that_need_it_have_hosts_asked() -> None:
    assert hardware.reads(site("llamacpp")) == () and set(hardware.reads(site("vllm"))) == {Gpus, TensorRt}


def house(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def test_the_wheels_in_the_folder_are_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ("vllm-0.33.0-cp38-abi3-manylinux_2_28_x86_64.whl", "Torch-2.14.0+cu130-cp312-cp312-linux_x86_64.whl",
             "pip-26.2-py3-none-any.whl")  # fmt: skip
    chosen = site("vllm", wheelhouse=house(tmp_path, *names))
    assert wheels.pins(chosen) == {"vllm": "0.33.0", "torch": "2.14.0+cu130", "pip": "26.2"}
    file = wheels.requirements(chosen)
    assert file.parent.name == "vllm" and "torch==2.14.0+cu130\n" in file.read_text()
    before = release.settings(chosen)["runtime_version"]
    assert before.startswith("0.33.0-")
    (tmp_path / names[1]).rename(tmp_path / names[1].replace("2.14.0", "2.14.1"))
    assert release.settings(chosen)["runtime_version"] != before


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ((), "no wheel of vllm and pip"),
        (("vllm-0.33.0-cp38-abi3-linux_x86_64.whl",), "no wheel of pip"),
        (("vllm-0.33.0-a-b-c.whl", "pip-26.2-a-b-c.whl", "pip-26.1-a-b-c.whl"), "pip twice: 26.1 and 26.2"),
    ],
)
def test_a_folder_that_is_no_wheelhouse_is_told(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    with pytest.raises(DsdeployError, match=why):
        wheels.pins(site("vllm", wheelhouse=house(tmp_path, *names)))


def test_without_a_wheelhouse_the_hint_fills_one() -> None:
    with pytest.raises(DsdeployError) as told:
        wheels.pins(site("sglang"))
    assert "pip download" in told.value.hint and "sglang==" in told.value.hint


@pytest.mark.parametrize(
    ("example", "old", "new", "why"),
    [
        ("vllm-h200", "precision: fp8", "precision: q8_0", "q8_0 is not one of vllm's"),
        ("vllm-h200", "stack: cuda13", "stack: cuda12.2", "wheels are made for stack cuda13"),
        ("vllm-h200", "stack: cuda13", "stack: legacy-cuda11.6", "wheels are made for stack cuda13"),
        ("vllm-h200", "stack: cuda13", "stack: cpu", "vllm needs GPUs"),
        ("vllm-two-hosts-an-engine", "  b2: {address: 10.0.0.14, roles: [engine]}\n", "", "1 left over"),
        ("vllm-two-hosts-an-engine", "tensor_parallel: 8\n  pipeline_parallel: 2", "tensor_parallel: 1", "on 2 hosts"),
        ("vllm-two-hosts-an-engine", "@sha256:" + "1" * 64, ":latest", "an image by digest"),
        ("triton-legacy", "precision: fp16", "precision: fp8", "fp8 is not one of triton's"),
        ("triton-legacy", "  context_tokens", "  nodes: 2\n  context_tokens", "triton cannot be split so"),
        ("triton-legacy", "  context_tokens", "  inner_ports: {blue: 8101, green: 8202}\n  context_tokens", "8101"),
        ("triton-legacy", "  context_tokens", "  pipeline_parallel: 2\n  context_tokens", "triton cannot be split so"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, example: str, old: str, new: str, why: str) -> None:
    text = (HERE / "sites" / f"{example}.yml").read_text()
    assert old in text
    path = tmp_path / "site.yml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SiteError) as told:
        load(path)
    assert any(why in problem.what for problem in told.value.problems), told.value.problems


def test_a_wheelhouse_with_a_vllm_that_is_too_old_for_the_model_is_refused(tmp_path: Path) -> None:
    names = ("vllm-0.20.0-cp312-abi3-linux_x86_64.whl", "pip-26.2-py3-none-any.whl")
    chosen = site("vllm", wheelhouse=house(tmp_path, *names))
    new = chosen.model_copy(update={"model": chosen.model.model_copy(update={"name": "deepseek-v4-flash"})})
    with pytest.raises(DsdeployError, match=r"has vllm 0.20.0, and deepseek-v4-flash needs 0.25.0"):
        wheels.pins(new)


def test_the_catalogues_least_version_is_below_ours() -> None:
    from dsdeploy.runtimes import vllm
    from dsdeploy.stacks import catalogue, versions

    least = {model.vllm_minimum for model in catalogue().values() if model.vllm_minimum}
    assert least and not [one for one in least if versions.older(vllm.VERSION, one)]
