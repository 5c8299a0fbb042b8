"""The programs of the role, imported as the host would, a fake NVML, and a host without GPUs under pytest's folder."""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pynvml
import pytest

HERE = Path(__file__).resolve().parent
FILES = HERE.parents[2] / "roles" / "health" / "files"
for folder in ("gpu", "health"):
    if str(FILES / folder) not in sys.path:
        sys.path.insert(0, str(FILES / folder))

import gpu_report  # noqa: E402

H200 = """
driver = 580.95.05
cuda = 13000
gpu*.name = NVIDIA H200
gpu*.compute = 9.0
gpu*.memory.total = 150754820096
gpu*.memory.used = 1073741824
gpu*.utilisation.gpu = 37
gpu*.utilisation.memory = 12
gpu*.temperature = 54
gpu*.power = 412500
gpu*.clock.sm = 1980
gpu*.clock.memory = 3201
gpu*.clock.sm_max = 1980
gpu*.throttle = 0
gpu*.ecc.enabled = 1
gpu*.ecc.volatile.corrected = 0
gpu*.ecc.volatile.uncorrected = 0
gpu*.ecc.aggregate.corrected = 4
gpu*.ecc.aggregate.uncorrected = 0
gpu*.remapped.corrected = 0
gpu*.remapped.uncorrected = 0
gpu*.remapped.pending = 0
gpu*.remapped.failure = 0
gpu*.nvlink = 111111111111111111
gpu*.mig = 0
gpu*.processes =
"""


def gpus(count: int, more: str = "", base: str = H200) -> str:
    """A host of so many GPUs; what `more` says of one of them goes before what is said of all."""
    own = "".join(f"gpu{i}.uuid = GPU-{i}\ngpu{i}.bus = 00000000:{0x17 + i:02X}:00.0\n" for i in range(count))
    return f"count = {count}\n{more}\n{own}{base}"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of our libnvidia-ml.so.1, compiled now."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler here: the fake NVML cannot be built")
    folder = tmp_path_factory.mktemp("nvml")
    name = "libnvidia-ml.so.1"
    words = [compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{name}"]
    subprocess.run([*words, "-o", str(folder / name), str(HERE / "fake_nvml.c")], check=True)
    shutil.copy(str(pynvml.__file__), folder / "pynvml.py")
    ctypes.CDLL(str(folder / name))  # whoever asks for this name in our own process gets this one
    return folder


class Host:
    """The report's program on a host of our making: NVML's answers, the bus, the kernel's log."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder, self._library = folder, library
        self.sys, self.log = folder / "sys", folder / "kernel.log"
        self.sys.mkdir()
        self.log.write_text("")

    def on_bus(self, *addresses: str, driver: str = "nvidia", kind: str = "0x030200") -> None:
        for address in addresses:
            device = self.sys / "bus" / "pci" / "devices" / address
            device.mkdir(parents=True)
            (device / "vendor").write_text("0x10de\n")
            (device / "class").write_text(kind + "\n")
            (self.sys / "drivers" / driver).mkdir(parents=True, exist_ok=True)
            (device / "driver").symlink_to(self.sys / "drivers" / driver)

    def run(self, answers: str, *words: str) -> subprocess.CompletedProcess[str]:
        """The program, in our own process: starting one for each of so many hosts takes a second each."""
        (self.folder / "nvml").write_text(answers)
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("DSDEPLOY_FAKE_NVML", str(self.folder / "nvml"))
            code = gpu_report.main([*words, "--sys", str(self.sys), "--kernel-log", str(self.log)])
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def start(self, answers: str | None, *words: str) -> subprocess.CompletedProcess[str]:
        """The program as the host starts it; None: there is no library."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self._library)}
        if answers is not None:
            (self.folder / "nvml").write_text(answers)
            environment |= {"DSDEPLOY_FAKE_NVML": str(self.folder / "nvml"), "LD_LIBRARY_PATH": str(self._library)}
        argv = [sys.executable, "-B", str(FILES / "gpu" / "gpu_report.py"), *words]
        argv += ["--sys", str(self.sys), "--kernel-log", str(self.log)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def report(self, answers: str | None, *words: str) -> dict[str, Any]:
        done = self.start(None, "report", *words) if answers is None else self.run(answers, "report", *words)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def host(tmp_path: Path, library: Path) -> Host:
    return Host(tmp_path, library)


def said(report: dict[str, Any]) -> list[str]:
    """Problems as `level gpu: what`."""
    return [
        f"{one['level']} {'host' if one['gpu'] is None else one['gpu']}: {one['what']}" for one in report["problems"]
    ]
