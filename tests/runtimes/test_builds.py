"""What stands for a build: warm kernels, TensorRT plans. trtexec and nvidia-smi are stand-ins, the rest is real."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from .examples import HERE, program

ENGINE = HERE / "fakes" / "engine.py"
HARDWARE = "x86_64 sm_8.0 NVIDIA A100 driver 470.57.02 tensorrt 8601"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts programs of these names into PATH, and nothing else that could answer for them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(**texts: str) -> Path:
        for name, text in texts.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return folder

    return put


def gpu(driver: str = "470.57.02", used: int = 10, compute: str = "8.0") -> str:
    return f"echo '0, 81920, {used}, {compute}, {driver}, NVIDIA A100'"


# --- kernels of vLLM and SGLang


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = program("vllm", "warm")
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(module.pwd, "getpwnam", lambda name: me)  # there is no service user on this machine
    if os.getuid():
        pytest.skip("a build belongs to root")
    return module


def order(folder: Path, mood: str = "ok", nodes: int = 1) -> argparse.Namespace:
    argv = [sys.executable, str(ENGINE), "--host", "@ADDRESS@", "--port", "@PORT@", "--served-model-name", "m"]
    environment = {"VLLM_CACHE_ROOT": "@CACHE@/vllm", "FAKE_MOOD": mood}
    launch = {"argv": argv, "wrap": [], "worker": [], "environment": environment, "patience": 2.0, "notes": []}
    flags = {"launch": launch, "devices": "", "memory_fraction": 0.9, "nodes": nodes}
    return argparse.Namespace(
        weights=folder / "weights", out=folder / "builds" / "k1", precision="fp8", key="k1",
        weights_digest="sha256:aa", hardware="x86_64", flags=flags,
    )  # fmt: skip


def test_what_was_compiled_is_recorded_and_not_compiled_again(
    warm: ModuleType, tools: Callable[..., Path], tmp_path: Path
) -> None:
    tools(nvidia_smi=gpu())
    made = warm.build(order(tmp_path))
    record = json.loads((tmp_path / "builds" / "k1" / "build.json").read_text())
    assert made["changed"] and made["warm"] and record["warm"] and record["key"] == "k1"
    assert [file["path"] for file in record["files"]] == ["cache/vllm/kernel.so", "warm.json"]
    assert not warm.build(order(tmp_path))["changed"]
    assert not (tmp_path / "builds" / "k1.partial").exists()


def test_beside_an_engine_that_serves_nothing_is_compiled_and_the_next_chance_is_taken(
    warm: ModuleType, tools: Callable[..., Path], tmp_path: Path
) -> None:
    tools(nvidia_smi=gpu(used=70000))
    made = warm.build(order(tmp_path))
    assert made["changed"] and not made["warm"] and "70000 of 81920 MiB in use" in made["reason"]
    assert not warm.build(order(tmp_path))["changed"]
    tools(nvidia_smi=gpu())
    assert warm.build(order(tmp_path))["warm"]


def test_hosts_that_are_one_engine_are_not_warmed_alone(
    warm: ModuleType, tools: Callable[..., Path], tmp_path: Path
) -> None:
    tools(nvidia_smi=gpu())
    assert warm.build(order(tmp_path, nodes=2))["reason"].startswith("2 hosts are one engine")


@pytest.mark.parametrize(("mood", "why"), [("memory", "out of GPU memory"), ("hang", "no progress for")])
def test_an_engine_that_does_not_come_up_fails_before_anything_is_switched(
    warm: ModuleType, tools: Callable[..., Path], tmp_path: Path, mood: str, why: str
) -> None:
    tools(nvidia_smi=gpu())
    with pytest.raises(Exception, match=why):
        warm.build(order(tmp_path, mood))
    assert list((tmp_path / "builds").glob("k1*")) == []


# --- TensorRT plans


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def tensor(name: str, *dims: int) -> bytes:
    """A ValueInfoProto; a dimension of 0 is a free one with a name."""
    sizes = b"".join(field(1, b"\x08" + varint(size) if size else field(2, b"n")) for size in dims)
    return field(1, name.encode()) + field(2, field(1, b"\x08\x07" + field(2, sizes)))


def onnx(*inputs: bytes) -> bytes:
    weight = field(8, b"w") + field(9, b"\0" * 300)
    graph = field(5, weight) + b"".join(field(11, one) for one in (tensor("w", 3), *inputs)) + field(2, b"graph")
    return b"\x08\x08" + field(7, graph)


TRTEXEC = """\
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # $0 $*"
echo "$*" >> "$(dirname "$0")/asked"
for word; do case $word in --saveEngine=*) printf plan > "${word#*=}";; esac; done"""


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = program("triton", "plan")
    monkeypatch.setattr(module, "TIMING", tmp_path / "timing")
    if os.getuid():
        pytest.skip("a build belongs to root")
    return module


def trt(folder: Path, precision: str = "fp16", hardware: str = HARDWARE) -> argparse.Namespace:
    weights = folder / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "model.onnx").write_bytes(onnx(tensor("input_ids", 0, 0), tensor("attention_mask", 0, 0)))
    flags = {
        "model": "m", "config": 'name: "m"\n', "workspace_mib": 2048, "max_batch": 64, "best_batch": 32,
        "context_tokens": 2048, "environment": {}, "image": "",
    }  # fmt: skip
    return argparse.Namespace(
        weights=weights, out=folder / "builds" / "k2", precision=precision, key="k2", weights_digest="sha256:aa",
        hardware=hardware, flags=flags,
    )  # fmt: skip


def test_a_plan_is_built_recorded_and_reused(plan: ModuleType, tools: Callable[..., Path], tmp_path: Path) -> None:
    folder = tools(nvidia_smi=gpu(), trtexec=TRTEXEC)
    assert plan.build(trt(tmp_path))["changed"]
    final = tmp_path / "builds" / "k2"
    record = json.loads((final / "build.json").read_text())
    assert record["made_for"] == {"tensorrt": "8601", "compute": "8.0", "driver": "470.57.02"}
    assert [file["path"] for file in record["files"]] == ["repository/m/1/model.plan", "repository/m/config.pbtxt"]
    asked = (folder / "asked").read_text().splitlines()[-1].split()
    shapes = {word.split("=")[0]: word.split("=")[1] for word in asked if "Shapes=" in word}
    assert shapes == {
        "--minShapes": "attention_mask:1x1,input_ids:1x1",
        "--optShapes": "attention_mask:32x512,input_ids:32x512",
        "--maxShapes": "attention_mask:64x2048,input_ids:64x2048",
    }
    assert {"--fp16", "--memPoolSize=workspace:2048M", f"--timingCacheFile={tmp_path}/timing/8601-sm8.0.cache"} < {
        *asked
    }
    assert not plan.build(trt(tmp_path))["changed"]


def test_an_altered_plan_is_built_anew(plan: ModuleType, tools: Callable[..., Path], tmp_path: Path) -> None:
    tools(nvidia_smi=gpu(), trtexec=TRTEXEC)
    plan.build(trt(tmp_path))
    path = tmp_path / "builds" / "k2" / "repository" / "m" / "1" / "model.plan"
    path.write_bytes(b"evil")
    assert plan.build(trt(tmp_path))["changed"] and path.read_bytes() == b"plan"


@pytest.mark.parametrize(
    ("here", "what"),
    [({"driver": "580.95.05"}, "driver 580.95.05"), ({"compute": "9.0"}, "sm_9.0")],
)
def test_another_gpu_or_driver_than_the_keys_is_refused(
    plan: ModuleType, tools: Callable[..., Path], tmp_path: Path, here: dict[str, str], what: str
) -> None:
    tools(nvidia_smi=gpu(**here), trtexec=TRTEXEC)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=what):
        plan.build(trt(tmp_path))


def test_another_tensorrt_than_the_keys_is_refused(
    plan: ModuleType, tools: Callable[..., Path], tmp_path: Path
) -> None:
    tools(nvidia_smi=gpu(), trtexec=TRTEXEC.replace("8601", "101401"))
    with pytest.raises(Exception, match="tensorrt 101401"):
        plan.build(trt(tmp_path))


def test_a_foreign_plan_is_not_served(tools: Callable[..., Path]) -> None:
    words = program("triton", "words")
    record = {"made_for": {"tensorrt": "8601", "compute": "8.0", "driver": "470.57.02"}}
    tools(nvidia_smi=gpu())
    words.check(record, {"devices": "all"})
    tools(nvidia_smi=gpu(driver="535.1"))
    with pytest.raises(words.Foreign, match=r"made for driver 470.57.02, this host has 535.1"):
        words.check(record, {"devices": "all"})


def test_int8_needs_scales(plan: ModuleType, tools: Callable[..., Path], tmp_path: Path) -> None:
    folder = tools(nvidia_smi=gpu(), trtexec=TRTEXEC)
    with pytest.raises(Exception, match="int8 needs scales"):
        plan.build(trt(tmp_path, "int8"))
    (tmp_path / "weights" / "calibration.cache").write_text("x")
    plan.build(trt(tmp_path, "int8"))
    asked = (folder / "asked").read_text().splitlines()[-1].split()
    assert {"--int8", "--fp16", f"--calib={tmp_path}/weights/calibration.cache"} < {*asked}


def test_before_8_4_the_workspace_is_a_flag_of_its_own(plan: ModuleType, tmp_path: Path) -> None:
    given = trt(tmp_path)
    argv = plan.command(given, given.weights / "model.onnx", Path("/p"), Path("/t"), "8205")
    assert "--workspace=2048" in argv and "--buildOnly" in argv and not any("memPool" in word for word in argv)


def test_trtexecs_own_error_is_told(plan: ModuleType, tools: Callable[..., Path], tmp_path: Path) -> None:
    failing = (
        'echo "[TensorRT v8601]"; case $* in *help*) exit 0;; esac; echo "[11/22] [E] Error[4]: no kernel"; exit 1'
    )
    tools(nvidia_smi=gpu(), trtexec=failing)
    with pytest.raises(Exception, match=r"Error\[4\]: no kernel"):
        plan.build(trt(tmp_path))
    assert list((tmp_path / "builds").glob("k2*")) == []


def test_inputs_of_an_onnx_model_are_read_without_its_weights(tmp_path: Path) -> None:
    inputs = program("triton", "onnx_inputs")
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx(tensor("input_ids", 0, 0), tensor("fixed", 4, 128)))
    assert inputs.read(path) == {"input_ids": [None, None], "fixed": [4, 128]}


@pytest.mark.parametrize("content", [b"", b"GGUF" * 10, onnx(tensor("a", 1))[:40], b"\x08" + b"\xff" * 20])
def test_what_is_no_onnx_model_is_told(tmp_path: Path, content: bytes) -> None:
    inputs = program("triton", "onnx_inputs")
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(inputs.BadModel, match="is not an ONNX model"):
        inputs.read(path)


def test_a_fixed_batch_is_refused(plan: ModuleType, tmp_path: Path) -> None:
    given = trt(tmp_path)
    (given.weights / "model.onnx").write_bytes(onnx(tensor("input_ids", 1, 0)))
    with pytest.raises(Exception, match="no free batch dimension"):
        plan.command(given, given.weights / "model.onnx", Path("/p"), Path("/t"), "8601")


def test_builders_tell_their_version() -> None:
    from dsdeploy import release

    told = {name: release.builder_version(name) for name in ("vllm", "sglang", "triton")}
    assert told == {"vllm": "kernel_warmup-1", "sglang": "kernel_warmup-1", "triton": "trt_plan-1"}
