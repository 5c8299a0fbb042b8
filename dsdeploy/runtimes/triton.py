"""Triton with TensorRT: the server's flags, config.pbtxt, and what trtexec is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdeploy.runtimes.launch import Launch, visible
from dsdeploy.site import Site

PROGRAM = "/opt/tritonserver/bin/tritonserver"


def launch(site: Site) -> Launch:
    """Triton itself listens on the loopback's inner port; our front on the colour's port gives the usual API."""
    # servers as old as CUDA 11.6 do not have the flag; there the firewall has to keep the port
    inside = () if site.stack == "legacy-cuda11.6" else ("--metrics-address=127.0.0.1",)
    argv = (
        PROGRAM, "--model-repository=@BUILD@/repository", "--model-control-mode=none", "--exit-on-error=true",
        "--http-address=127.0.0.1", "--http-port=@INNER_PORT@", "--allow-grpc=false",
        "--allow-metrics=true", "--metrics-port=@METRICS_PORT@", "--strict-readiness=true",
        "--exit-timeout-secs=30", *inside,
    )  # fmt: skip
    return Launch(argv, visible(site) | {"HOME": "@CACHE@/home"}, patience=600)


def config_pbtxt(site: Site) -> str:
    """The model's configuration. Inputs and outputs are read from the plan by Triton (a plan says them itself)."""
    batching = site.engine.batching
    preferred = ", ".join(str(size) for size in batching.preferred_batch_size)
    sizes = f"  preferred_batch_size: [ {preferred} ]\n" if preferred else ""
    return (
        f'name: "{site.model.name}"\n'
        'platform: "tensorrt_plan"\n'
        f"max_batch_size: {batching.max_batch_size}\n"
        "dynamic_batching {\n"
        f"{sizes}"
        f"  max_queue_delay_microseconds: {batching.timeout_micros}\n"
        "}\n"
        "instance_group [\n"
        f"  {{ count: 1 kind: KIND_GPU{_gpus(site)} }}\n"
        "]\n"
    )


def _gpus(site: Site) -> str:
    """Numbers among the visible devices: they count from 0, whatever the host calls them."""
    if site.engine.devices == "all":
        return ""
    return f" gpus: [ {', '.join(str(index) for index in range(len(site.engine.devices)))} ]"


def build_flags(site: Site) -> Mapping[str, Any]:
    """All that the plan depends on and trtexec is told; the TensorRT version is added by who has read it."""
    engine = site.engine
    return {
        "model": site.model.name,
        "config": config_pbtxt(site),
        "workspace_mib": engine.workspace // 2**20,
        "max_batch": engine.batching.max_batch_size,
        "best_batch": max(engine.batching.preferred_batch_size, default=engine.batching.max_batch_size),
        "context_tokens": engine.context_tokens,
        "environment": visible(site),
        "image": engine.image or "",
    }
