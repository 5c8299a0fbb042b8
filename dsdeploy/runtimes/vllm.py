"""vLLM: `vllm serve` from site and catalogue. Checked against the parser of 0.33.0 (tests/runtimes)."""

from __future__ import annotations

from dsdeploy.runtimes.launch import CONTINUOUS, Launch, caches, dtype, known, online, visible
from dsdeploy.site import Site
from dsdeploy.stacks import models

VERSION = "0.33.0"


def launch(site: Site) -> Launch:
    """Several hosts: one process group over them (multiprocessing, no Ray); hosts but the first are headless."""
    engine = site.engine
    model = models.catalogue().get(site.model.name)
    argv = [
        "@RUNTIME@/bin/vllm", "serve", "@WEIGHTS@",
        "--served-model-name", site.model.name,
        "--host", "@ADDRESS@", "--port", "@PORT@",
        "--dtype", dtype(site),
        "--max-model-len", str(engine.context_tokens),
        "--max-num-seqs", str(engine.batching.max_batch_size),
        "--gpu-memory-utilization", f"{engine.memory_fraction:g}",
        "--tensor-parallel-size", str(engine.tensor_parallel),
    ]  # fmt: skip
    if engine.pipeline_parallel > 1:
        argv += ["--pipeline-parallel-size", str(engine.pipeline_parallel)]
    if engine.nodes > 1:
        argv += ["--nnodes", str(engine.nodes), "--node-rank", "@RANK@"]
        argv += ["--master-addr", "@HEAD@", "--master-port", "@INNER_PORT@"]
    argv += [*online(site), *known(site, model.vllm_flags if model else ())]
    environment = visible(site) | caches() | {
        "VLLM_CACHE_ROOT": "@CACHE@/vllm",
        "VLLM_HOST_IP": "@ADDRESS@",  # ranks talk without a password: never on all interfaces
        "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip
    return Launch(tuple(argv), environment, ("--headless",) if engine.nodes > 1 else (), notes=(CONTINUOUS,))
