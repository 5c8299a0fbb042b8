"""Serve one release with llama.cpp: ``serve.py HOME``, HOME being /srv/dsdeploy/<colour>.

Reads HOME/engine.json (settings of the release) and ADDRESS, PORT, DRAIN_S from the environment. Says READY
to systemd only after a completion came back through its own HTTP port. On SIGTERM it waits until no request is
left, or DRAIN_S seconds, and stops. Exit 78: these settings or this build will never start; else: retry.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Mapping, NoReturn

import artefact
import drain
import fit
import gguf_header
from systemd import notify

_REFUSED = 78  # EX_CONFIG, see RestartPreventExitStatus in the unit
_HANG = 15  # seconds a stop may take once drained


def main(home: Path) -> None:
    release = home.resolve()  # so that /props names the release, whatever the colour points to later
    address, port = os.environ["ADDRESS"], int(os.environ["PORT"])
    limit = float(os.environ.get("DRAIN_S", "300"))
    settings: Dict[str, Any] = json.loads((release / "engine.json").read_text())
    if settings["devices"] != "all":
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in settings["devices"])
    say(f"release {release.name}: checking the build")
    artefact.verify(release / "build")
    model = release / "build" / "model.gguf"
    import xllamacpp  # after CUDA_VISIBLE_DEVICES: the devices are counted on import

    need = fit.need(settings, gguf_header.read(model), model.stat().st_size)
    memory, where = memory_of(xllamacpp.get_device_info())
    fit.check(need, memory, settings["memory_fraction"], where)
    say(f"loading: {fit.arithmetic(need)}, of {settings['memory_fraction']} x {where} {fit.mib(memory)}")
    say("batching is continuous: preferred_batch_size and timeout_micros are not used by llamacpp")
    free_port(address, port)
    serving, stop = threading.Event(), threading.Event()
    watch_signals(serving, stop)
    server = xllamacpp.Server(parameters(xllamacpp, settings, need, str(model), address, port))
    prove(address, port, settings["model"])
    serving.set()
    say(f"ready: release {release.name} on {address}:{port}")
    notify("READY=1", f"STATUS=release {release.name} on {address}:{port}")
    stop.wait()
    notify("STOPPING=1", f"STATUS=draining, at most {limit:.0f} s")
    started = time.monotonic()
    left = drain.wait(address, port, limit)
    if left:
        say(f"stopping with {left} requests cut after {limit:.0f} s")
        os._exit(0)  # deleting the server would wait for them
    say(f"drained in {time.monotonic() - started:.1f} s")
    faulthandler.dump_traceback_later(_HANG, exit=True)  # a request that slipped in would hold it for ever
    del server
    faulthandler.cancel_dump_traceback_later()
    say("stopped")


def watch_signals(serving: threading.Event, stop: threading.Event) -> None:
    """Wait for SIGTERM in a thread of its own: llama.cpp replaces handlers, but cannot take a blocked signal.

    While the model is still loading there is nobody to drain, and the process goes at once.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before any other thread: they inherit it

    def watch() -> None:
        signal.sigwait(signals)
        if not serving.is_set():
            os._exit(0)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()


def parameters(xllamacpp: Any, settings: Mapping[str, Any], need: fit.Need, model: str, address: str, port: int) -> Any:
    """llama.cpp's parameters. Nothing is left to its own fitting: that would shrink the context silently."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = model
    wanted.model_alias = {settings["model"]}
    wanted.hostnames = [address]
    wanted.port = port
    wanted.n_parallel = need.slots
    wanted.n_ctx = need.slots * need.context  # divided among the slots
    wanted.n_batch, wanted.n_ubatch = need.batch, need.micro_batch
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads()
    wanted.n_threads_http = need.slots + 32  # health and metrics must find a thread when every slot is busy
    wanted.cache_ram_mib, wanted.cache_idle_slots = 0, False  # a prompt cache would stand beside the budget
    wanted.fit_params = wanted.ui = wanted.endpoint_slots = False  # /slots shows other people's prompts
    wanted.endpoint_metrics = True
    wanted.cors_origins = ""  # browsers come through the router
    wanted.verbosity = 2  # warnings: a line per request would flood the journal
    wanted.warmup = True
    if settings["tensor_parallel"] > 1:
        wanted.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_ROW
    return wanted


def threads() -> int:
    """All cores but one, which answers HTTP and runs the host."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def memory_of(devices: Any) -> "tuple[int, str]":
    """Bytes the fraction is taken of, and their name: the visible GPUs', else the host's available memory."""
    gpus = [device for device in devices if device["type"].name.endswith("_GPU")]
    if gpus:
        return sum(int(gpu["memory_total"]) for gpu in gpus), f"memory of {len(gpus)} GPUs"
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024, "available memory"
    raise fit.DoesNotFit("/proc/meminfo has no MemAvailable")


def free_port(address: str, port: int) -> None:
    """A clear message instead of llama.cpp's, when somebody else has the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address}:{port}: {error.strerror}") from error


def prove(address: str, port: int, model: str) -> None:
    """One token through the front door: health was seen to say 200 before a first request that kills."""
    body = json.dumps({"model": model, "prompt": "1", "max_tokens": 1, "ignore_eos": True}).encode()
    answer = json.loads(drain.ask(address, port, "/v1/completions", timeout=3600, body=body))
    if answer["usage"]["completion_tokens"] < 1:
        raise RuntimeError(f"the first completion is empty: {answer}")


def say(line: str) -> None:
    print(line, flush=True)


def refuse(why: str) -> NoReturn:
    say(f"refused: {why}")
    notify(f"STATUS=refused: {why}", "ERRNO=22")
    sys.exit(_REFUSED)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (artefact.Damaged, gguf_header.BadHeader, fit.DoesNotFit) as error:
        refuse(str(error))
    except OSError as error:
        sys.exit(f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error))
