"""A router of this role on loopback: real HAProxy where there is one, stub engines behind it, no root, no systemd."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[2] / "roles" / "router" / "files" / "router"


def _load(path: Path) -> ModuleType:
    """A module by file; nothing compiled is left beside it, the folder is copied to hosts."""
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="session")
def rendering() -> ModuleType:
    return _load(HERE / "rendering.py")


@pytest.fixture(scope="session")
def program() -> SimpleNamespace:
    """The on-host program's modules: config, runtime, switch, cli."""
    names = ("router_config", "router_runtime", "router_switch", "dsdeploy_router")
    loaded = [_load(PROGRAM / f"{name}.py") for name in names]
    return SimpleNamespace(**dict(zip(("config", "runtime", "switch", "cli"), loaded, strict=True)))


@pytest.fixture(scope="session")
def watch() -> ModuleType:
    """The program that tells keepalived whether HAProxy is alive."""
    return _load(PROGRAM.parent / "vip" / "router_watch.py")


@pytest.fixture(scope="session")
def haproxy() -> str:
    found = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("HAProxy is not installed on this machine")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def local(text: str) -> str:
    """The configuration for a process without root: no chroot, no other user."""
    drop = ("    chroot ", "    user ", "    group ")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(drop)]
    return "".join(lines).replace(" user root group haproxy", "")


class Router:
    """One running HAProxy with two hosts of two colours each behind it."""

    def __init__(self, binary: str, folder: Path, rendering: ModuleType, program: SimpleNamespace) -> None:
        self.binary, self.program, self.port = binary, program, free_port()
        self.paths = program.config.Paths(
            folder / "haproxy.cfg", folder / "releases.map", folder / "state", folder / "sock", folder / "master"
        )
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.paths.state.mkdir()
        self.given = {
            "router_port": self.port, "router_metrics_port": free_port(), "router_max_body_bytes": 65536,
            "router_rate_limit": {"requests_per_second": 1, "burst": 20},
            # the machine that tests may be busy: a check has to be able to wait
            "router_check_timeout_ms": 5000, "router_engines": self._engines(rendering),
            "__router_map": str(self.paths.releases), "__router_state_dir": str(self.paths.state),
            "__router_socket": str(self.paths.socket),
        }  # fmt: skip
        self.paths.config.write_text(local(rendering.render("haproxy.cfg.j2", **self.given)))
        self.paths.releases.write_text(rendering.render("releases.map.j2", **self.given))

    def _engines(self, rendering: ModuleType) -> list[dict[str, Any]]:
        engines: list[dict[str, Any]] = rendering.engines()
        for engine in engines:
            engine |= {"address": "127.0.0.1", "port": free_port()}
            words = ["127.0.0.1", str(engine["port"]), f"{engine['host']}-{engine['colour']}"]
            self._start([sys.executable, str(HERE / "stub_engine.py"), *words])
        return engines

    def _start(self, command: list[str]) -> None:
        log = (self.folder / "log").open("ab")
        self.processes.append(subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log))

    def start(self) -> None:
        self._start([self.binary, "-W", "-f", str(self.paths.config), "-S", str(self.paths.master)])
        self.wait(lambda: self.program.runtime.structure(self.paths.socket) != "")
        self.wait(lambda: self.proven() == {"gpu1-blue", "gpu2-blue"})

    def proven(self) -> set[str]:
        return {name for name, one in self.program.runtime.servers(self.paths.socket).items() if one.proven}

    def wait(self, done: Any) -> None:
        """Until `done()`, watching the processes it depends on; pytest's own limit ends a hang."""
        pause = socket.socketpair()[0]
        pause.settimeout(0.05)
        while not done():
            dead = [one.args for one in self.processes if one.poll() is not None]
            assert not dead, f"{dead} ended: {(self.folder / 'log').read_text()}"
            try:
                pause.recv(1)
            except TimeoutError:
                continue

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def router(
    haproxy: str, rendering: ModuleType, program: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    running = Router(haproxy, tmp_path_factory.mktemp("router"), rendering, program)
    try:
        running.start()
        yield running
    finally:
        running.stop()
