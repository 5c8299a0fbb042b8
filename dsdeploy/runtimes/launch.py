"""What starts an engine, as data. Words like @PORT@ are filled in on the host, by roles/engine/files/supervise.

Only what is the release's own stands here: addresses, ports and ranks belong to the place it runs in.

    @ADDRESS@ @PORT@            where the colour listens on this host
    @RANK@ @HEAD@ @HEAD_HOST@   this host's number in its engine, the address of number 0, the same with [] for IPv6
    @INNER_PORT@ @METRICS_PORT@ the colour's second port, and the one two above it
    @RUNTIME@ @WEIGHTS@ @BUILD@ folders of the release; @CACHE@ the colour's own, writable
    @NAME@ @UID@ @GID@          the unit's name for a container, and whom it runs as
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dsdeploy.site import Site
from dsdeploy.stacks import models

TRUST = "--trust-remote-code"


@dataclass(frozen=True)
class Launch:
    """`argv` on every host; `worker` comes after it on hosts with a rank above 0. `wrap` comes before it.

    `patience` is how long, in seconds, a start may go without a sign of progress.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    worker: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    patience: int = 900
    notes: tuple[str, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """As it stands in engine.json."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def visible(site: Site) -> dict[str, str]:
    """CUDA_VISIBLE_DEVICES, where the site names devices; the numbers are those of nvidia-smi."""
    if site.engine.devices == "all":
        return {}
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in site.engine.devices),
    }


def caches() -> dict[str, str]:
    """Everything that compiles at the first start writes here, and nothing looks for an index or a hub."""
    return {
        "HOME": "@CACHE@/home",
        "XDG_CACHE_HOME": "@CACHE@/xdg",
        "TRITON_CACHE_DIR": "@CACHE@/triton",
        "TORCHINDUCTOR_CACHE_DIR": "@CACHE@/inductor",
        "CUDA_CACHE_PATH": "@CACHE@/cuda",
        "FLASHINFER_WORKSPACE_BASE": "@CACHE@",
        "DG_JIT_CACHE_DIR": "@CACHE@/deep_gemm",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
    }


def known(site: Site, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of the catalogue; running code that lies with the weights is the site's decision, never its."""
    return tuple(flag for flag in flags if flag != TRUST) + ((TRUST,) if site.engine.trust_remote_code else ())


def dtype(site: Site) -> str:
    """What is computed in, where the precision says it; a quantised checkpoint says it itself."""
    return {"bf16": "bfloat16", "fp16": "float16"}.get(site.engine.precision, "auto")


def online(site: Site) -> tuple[str, ...]:
    """FP8 of a model that is published in 16 bits only: made from it while it is loaded."""
    model = models.catalogue().get(site.model.name)
    if model is None or site.engine.precision in model.precisions or site.engine.precision != "fp8":
        return ()
    return ("--quantization", "fp8")


CONTINUOUS = "batching is continuous: preferred_batch_size and timeout_micros are not used"
