"""SGLang: `sglang.launch_server` from site and catalogue. Checked against the parser of 0.5.23 (tests/runtimes)."""

from __future__ import annotations

from dsdeploy.runtimes.launch import CONTINUOUS, Launch, caches, dtype, known, online, visible
from dsdeploy.site import Site
from dsdeploy.stacks import models

VERSION = "0.5.23"


def launch(site: Site) -> Launch:
    """Hosts with a rank above 0 answer /health with 200 whatever happens: nobody is to ask them."""
    engine = site.engine
    model = models.catalogue().get(site.model.name)
    argv = [
        "@RUNTIME@/bin/python", "-m", "sglang.launch_server",
        "--model-path", "@WEIGHTS@",
        "--served-model-name", site.model.name,
        "--host", "@ADDRESS@", "--port", "@PORT@",
        "--dtype", dtype(site),
        "--context-length", str(engine.context_tokens),
        "--max-running-requests", str(engine.batching.max_batch_size),
        "--mem-fraction-static", f"{engine.memory_fraction:g}",
        "--tp-size", str(engine.tensor_parallel),
        "--enable-metrics",
    ]  # fmt: skip
    if engine.pipeline_parallel > 1:
        argv += ["--pp-size", str(engine.pipeline_parallel)]
    if engine.nodes > 1:
        argv += ["--nnodes", str(engine.nodes), "--node-rank", "@RANK@"]
        argv += ["--dist-init-addr", "@HEAD_HOST@:@INNER_PORT@"]
    argv += [*online(site), *known(site, model.sglang_flags if model else ())]
    environment = visible(site) | caches() | {
        "SGLANG_CACHE_DIR": "@CACHE@/sglang",
        "SGLANG_DG_CACHE_DIR": "@CACHE@/deep_gemm",
        "SGLANG_HOST_IP": "@ADDRESS@",
    }  # fmt: skip
    return Launch(tuple(argv), environment, notes=(CONTINUOUS,))
