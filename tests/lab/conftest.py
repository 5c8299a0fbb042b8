"""One lab of its own for all tests that need machines: another name and subnet than the operator's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "10.90.1."
MODEL = "deepseek-tiny"
PROMPT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Say something."}],
    "max_tokens": 8,
    "temperature": 0,
}


@dataclass
class Lab:
    """The test lab and its site file, driven by the command line as an operator would."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site.yml"

    def run(self, *words: str, code: int | None = 0, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """`dsdeploy …`; fails the test unless it ends with this code (None: any)."""
        argv = [sys.executable, "-m", "dsdeploy", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False)
        shown = f"$ dsdeploy {' '.join(words)}\nexit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        assert "Traceback" not in done.stderr, shown
        assert code is None or done.returncode == code, shown
        return done

    def up(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("up", str(self.site), "--yes", *words, code=code)

    def serving(self) -> str:
        """The release that serves; `up` runs first if the site is not healthy yet."""
        if self.run("status", str(self.site), code=None).returncode != 0:
            self.up()
        return str(self.status()["release"])

    def status(self, code: int | None = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", str(self.site), "--json", code=code).stdout)
        return answer

    def ssh(self, host: str, command: str, check: bool = True) -> str:
        """A shell line on a machine of the lab."""
        argv = [sys.executable, "-m", "dsdeploy", "lab", "ssh", host, "--site", str(self.site), "--", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, cwd=ROOT, check=False)
        assert not check or done.returncode == 0, f"{host}$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(
        self, path: str = "/v1/chat/completions", body: dict[str, Any] | None = None, router: str = "gw1"
    ) -> tuple[int, dict[str, str], bytes]:
        """A request through a router: status, headers (lower case), body."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"http://{self.address(router)}:8000{path}", data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def address(self, router: str) -> str:
        return {"gw1": NETWORK + "11", "gw2": NETWORK + "12"}[router]

    def edit(self, old: str, new: str) -> None:
        text = self.site.read_text()
        assert old in text, old
        self.site.write_text(text.replace(old, new))

    @property
    def mirror(self) -> Path:
        """The weights mirror's files, on this computer."""
        return self.folder / ".dsdeploy" / "e2e" / "mirror"

    def machine(self, host: str) -> str:
        """The container's name."""
        shown = json.loads(self.run("lab", "status", "--json", "--site", str(self.site), code=None).stdout)
        return next(str(machine["container"]) for machine in shown["machines"] if machine["name"] == host)


def why_not() -> str:
    """Why the lab cannot run here; empty if it can."""
    done = subprocess.run(
        [sys.executable, "-c", "from dsdeploy.lab import probe; print(probe.refusal() or '')"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Bare machines, without anything of dsdeploy's on them."""
    reason = why_not()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")
    folder = tmp_path_factory.mktemp("e2e")
    text = (ROOT / "inventory" / "lab" / "site.yml").read_text()
    (folder / "site.yml").write_text(text.replace("site: lab", "site: e2e").replace("10.90.0.", NETWORK))
    made = Lab(folder)
    made.run("lab", "down", "--site", str(made.site), code=None)
    made.run("lab", "up", "--site", str(made.site))
    yield made
    if not os.environ.get("DSDEPLOY_KEEP_LAB"):
        made.run("lab", "down", "--site", str(made.site))
        shutil.rmtree(folder, ignore_errors=True)


ORDER = ("test_up", "test_integrity", "test_faults", "test_molecule", "test_wheel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bare machines first, faults when something serves; all the others of this folder before them."""
    here = Path(__file__).parent
    lab = [item for item in items if item.path.parent == here]
    lab.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)
    others = [item for item in items if item.path.parent != here]
    items[:] = others + lab
