"""The same flags inside podman: image by digest, GPUs by CDI, no shell in between."""

from __future__ import annotations

from dataclasses import replace

from dsdeploy.runtimes.launch import Launch
from dsdeploy.site import Site

ROOT = "/srv/dsdeploy"
_ENTRY = {"vllm": "vllm", "sglang": "python3", "triton": "/opt/tritonserver/bin/tritonserver"}


def wrap(site: Site, made: Launch) -> Launch:
    """`podman run` in front. Everything the release is made of is read-only; the colour's cache is not.

    `--cgroups=split` puts the container below the unit: its devices survive a daemon-reload.
    """
    engine = site.engine
    entry = _ENTRY[engine.runtime]
    several = ["--device", "/dev/infiniband"] if engine.nodes > 1 else []
    devices = ["all"] if engine.devices == "all" else [str(index) for index in engine.devices]
    argv = [
        "/usr/bin/podman", "run", "--rm", "--replace", "--name", "@NAME@", "--pull=never", "--log-driver=passthrough",
        "--network=host", "--cgroups=split", "--sdnotify=ignore", "--read-only", "--tmpfs", "/tmp", "--shm-size=32g",
        "--cap-drop=all", "--security-opt=no-new-privileges", "--user", "@UID@:@GID@",
        "--ulimit", "memlock=-1:-1", "--ulimit", "stack=67108864:67108864",
        "--volume", f"{ROOT}:{ROOT}:ro", "--volume", "@CACHE@:@CACHE@:rw",
        *(word for index in devices for word in ("--device", f"nvidia.com/gpu={index}")), *several,
    ]  # fmt: skip
    # CDI gives the container the devices that were named, numbered from 0
    environment = dict(made.environment)
    if "CUDA_VISIBLE_DEVICES" in environment:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in range(len(devices)))
    for name, value in environment.items():
        argv += ["--env", f"{name}={value}"]
    for prefix in ("NCCL_*", "GLOO_*", "UCX_*"):  # what the host's own fabric needs, where the unit has it
        argv += ["--env", prefix]
    argv += ["--entrypoint", entry, str(engine.image)]
    return replace(made, argv=made.argv[1:], wrap=tuple(argv), environment={})
