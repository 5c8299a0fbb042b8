"""The build of Triton: an ONNX model to a TensorRT plan, on the host that will run it, with trtexec.

The weights hold model.onnx; for int8 also calibration.cache, unless the model was quantised when it was exported
(`"int8": "explicit"` in quantization.json beside it). The plan belongs to one TensorRT, GPU and driver: all three are
compared with what the key was made of before anything is built, and recorded for every later start.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import image
import onnx_inputs
import sealed
from order import BuildError, gpus, main, record

BUILDER = "trt_plan"
VERSION = "1"
TIMING = Path("/var/lib/dsdeploy/timing")
PROGRAMS = ("/usr/src/tensorrt/bin/trtexec", "trtexec")
_BANNER = re.compile(r"\[TensorRT v([0-9]+)\]")
_NAMED_POOLS = 8400  # since 8.4 the workspace is a memory pool


def build(given: argparse.Namespace) -> Dict[str, Any]:
    """changed, path, seconds, tensorrt."""
    started = time.monotonic()
    made_for = matching(given)
    there = sealed.sound(given.out, given.key)
    if there and there.get("made_for") == made_for:
        return {"changed": False, "path": str(given.out), "seconds": 0.0, **made_for}
    model = given.weights / "model.onnx"
    if not model.is_file():
        raise BuildError("the weights hold no model.onnx", str(given.weights), "export the model to ONNX first")
    flags = given.flags
    with sealed.alone(given.out) as partial:
        home = partial / "repository" / flags["model"]
        (home / "1").mkdir(parents=True)
        (home / "config.pbtxt").write_text(flags["config"])
        timing = TIMING / f"{made_for['tensorrt'].rpartition(':')[2][:16]}-sm{made_for['compute']}.cache"
        timing.parent.mkdir(parents=True, exist_ok=True)
        run(command(given, model, home / "1" / "model.plan", timing, made_for["tensorrt"]), partial, flags)
        sealed.seal(partial, given.out, record(given, BUILDER, VERSION, made_for=made_for))
    return {"changed": True, "path": str(given.out), "seconds": round(time.monotonic() - started, 1), **made_for}


def command(given: argparse.Namespace, model: Path, plan: Path, timing: Path, tensorrt: str) -> List[str]:
    """trtexec's arguments. Raises BuildError when int8 has no scales, or the model's inputs cannot be bounded."""
    flags, megabytes = given.flags, int(given.flags["workspace_mib"])
    try:
        inputs = onnx_inputs.read(model)
    except onnx_inputs.BadModel as error:
        raise BuildError(str(error), str(model)) from error
    argv = [f"--onnx={model}", f"--saveEngine={plan}", f"--timingCacheFile={timing}", "--skipInference"]
    if tensorrt.isdigit() and int(tensorrt) < _NAMED_POOLS:
        argv[-1] = "--buildOnly"
        argv.append(f"--workspace={megabytes}")
    else:
        argv.append(f"--memPoolSize=workspace:{megabytes}M")
    argv += precision(given.precision, given.weights)
    for word, batch, length in (
        ("min", 1, 1),
        ("opt", int(flags["best_batch"]), max(1, int(flags["context_tokens"]) // 4)),
        ("max", int(flags["max_batch"]), int(flags["context_tokens"])),
    ):
        shapes = ",".join(f"{name}:{shape(name, dims, batch, length)}" for name, dims in sorted(inputs.items()))
        argv.append(f"--{word}Shapes={shapes}")
    return argv


def shape(name: str, dims: List[Optional[int]], batch: int, length: int) -> str:
    """`16x128`: the first free dimension is the batch, the others are positions. Raises BuildError."""
    if not dims or dims[0] is not None:
        what = f"input {name} has no free batch dimension: {dims}"
        raise BuildError(what, "model.onnx", "export it with a dynamic first axis")
    return "x".join([str(batch), *(str(length if size is None else size) for size in dims[1:])])


def precision(name: str, weights: Path) -> List[str]:
    """Flags of a precision. Raises BuildError for int8 without scales: TensorRT would make them up."""
    if name == "f32":
        return []
    if name == "fp16":
        return ["--fp16"]
    calibration, told = weights / "calibration.cache", weights / "quantization.json"
    if calibration.is_file():
        return ["--int8", "--fp16", f"--calib={calibration}"]
    if told.is_file() and json.loads(told.read_text()).get("int8") == "explicit":
        return ["--int8", "--fp16"]
    hint = "put calibration.cache beside model.onnx, or export a quantised model and say so in quantization.json"
    raise BuildError("int8 needs scales, and the weights bring none", str(weights), hint)


def matching(given: argparse.Namespace) -> Dict[str, str]:
    """TensorRT, compute capability and driver here, which must be those of the key. Raises BuildError."""
    found = gpus(given.flags["environment"].get("CUDA_VISIBLE_DEVICES", ""))
    if not found:
        raise BuildError("no NVIDIA GPU answers", "nvidia-smi", "install the driver of the stack")
    kinds = {(gpu["compute_cap"], gpu["driver_version"]) for gpu in found}
    if len(kinds) > 1:
        raise BuildError(f"the GPUs differ: {sorted(kinds)}", "nvidia-smi", "name like ones in engine.devices")
    compute, driver = kinds.pop()
    tensorrt = given.flags["image"] or version(*trtexec({}))
    here = {"tensorrt": tensorrt, "compute": compute, "driver": driver}
    told = f" {given.hardware} "
    for word in (f"sm_{compute} ", f"driver {driver} ", f"tensorrt {tensorrt} "):
        if word not in told:
            what = f"the build is for {given.hardware}; this host has {word.strip()}"
            raise BuildError(what, "the key of the build", "dsdeploy up SITE reads the hosts anew")
    return here


def trtexec(flags: Mapping[str, Any]) -> List[str]:
    """The program, in the image where there is one. Raises BuildError."""
    if flags.get("image"):
        try:
            image.present(flags["image"])
        except image.Failed as error:
            raise BuildError(str(error), "podman") from error
        devices = flags["environment"].get("CUDA_VISIBLE_DEVICES", "all").split(",")
        return [
            "/usr/bin/podman", "run", "--rm", "--pull=never", "--network=none", "--cap-drop=all",
            "--security-opt=no-new-privileges", "--volume", "/srv/dsdeploy:/srv/dsdeploy:rw",
            "--volume", f"{TIMING}:{TIMING}:rw", *(f"--device=nvidia.com/gpu={index}" for index in devices[:1]),
            "--entrypoint", PROGRAMS[0], str(flags["image"]),
        ]  # fmt: skip
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return [found]
    raise BuildError(
        "trtexec is not installed", PROGRAMS[0], "install TensorRT's tools (libnvinfer-bin), or set engine.image"
    )


def version(program: str, *more: str) -> str:
    """As trtexec's banner has it: 8601 is 8.6.1. Raises BuildError."""
    done = subprocess.run(
        [program, *more, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    found = _BANNER.search(done.stdout)
    if not found:
        raise BuildError("trtexec does not say its version", program, f"{program} --help")
    return found.group(1)


def run(argv: List[str], partial: Path, flags: Mapping[str, Any]) -> None:
    """Raises BuildError with trtexec's own last error."""
    done = subprocess.Popen([*trtexec(flags), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.stdout is not None
    errors: List[str] = []
    for line in done.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        if "[E]" in line:
            errors.append(line.split("[E]", 1)[1].strip())
    plans = list(partial.rglob("model.plan"))
    if done.wait() != 0 or not plans or not plans[0].stat().st_size:
        why = errors[0] if errors else f"trtexec ended with {done.returncode}"
        raise BuildError(f"TensorRT cannot build the plan: {why}", "trtexec")


if __name__ == "__main__":
    sys.exit(main(build))
