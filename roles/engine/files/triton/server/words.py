"""What Triton says, the front that gives it the usual API, and the plan it may load: only one made here."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import ask
import front
import order

BUSY = ("dsdeploy_front_open_requests",)
PHASES = (
    (r"Started HTTPService|successfully loaded|\| READY", "serving"),
    (r"Loaded engine size|TensorRT-managed allocation|TRT_LOGGER|ModelInstanceInitialize", "loading the plan"),
    (r"loading: |TRITONBACKEND_ModelInitialize", "reading the model"),
    (r"Pinned memory pool|CUDA memory pool", "allocating"),
)
FATAL = (
    (
        r"incompatible|not compatible with|Version tag does not match|serialized (with|on)",
        "!a plan of another TensorRT",
    ),
    (r"failed to load .* version|\| UNAVAILABLE", "!the model does not load"),
    (r"unrecognized option|Unexpected argument", "!a flag it does not have"),
    (r"out of memory|OutOfMemory", "out of GPU memory"),
    (r"Socket .* already in use|[Aa]ddress already in use", "the port is taken"),
)


class Foreign(ValueError):
    """A plan that was made elsewhere: another GPU, driver or TensorRT."""


def check(record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """The record's GPU and driver against this host's, now. Its bytes were compared with their digests before."""
    made = record.get("made_for") or {}
    wanted = settings["devices"]
    for gpu in order.gpus("" if wanted == "all" else ",".join(str(index) for index in wanted)):
        here = {"compute": gpu["compute_cap"], "driver": gpu["driver_version"]}
        for name, value in here.items():
            if made.get(name) != value:
                raise Foreign(
                    f"the plan was made for {name} {made.get(name)}, this host has {value}; try: dsdeploy up SITE"
                )


_opened: Dict[str, Any] = {}


def open_front(settings: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Once Triton is ready, and once. Raises ask.Silent before."""
    inner = int(known["INNER_PORT"])
    ask.get("127.0.0.1", inner, "/v2/health/ready", timeout=5)
    if not _opened:
        _opened["front"] = front.start(settings, known)


def metrics(address: str, port: int) -> str:
    return ask.get(address, port, "/metrics", timeout=5)
