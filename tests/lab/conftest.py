"""One lab of its own for all tests that need machines: another name and subnet than the operator's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dsdeploy.lab import access
from dsdeploy.site import load as load_site

from ..bench.traffic import flowing
from ..load import judge
from ..load.history import Request
from .running import Running, running

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "10.90.1."
RATE = 10.0  # requests a second: every moment of a switch is hit, and two processors still do the work
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
        assert re.search("(?m)^Traceback", done.stderr) is None, shown  # an engine's, that an error shows, stands apart
        assert code is None or done.returncode == code, shown
        return done

    def up(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("up", str(self.site), "--yes", *words, code=code)

    def upgrade(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("upgrade", str(self.site), "--yes", *words, code=code)

    def begin(self, verb: str, **environment: str) -> AbstractContextManager[Running]:
        """`dsdeploy VERB` that goes on while the test does something to it."""
        log = self.folder / f"{verb}.log"
        argv = [sys.executable, "-m", "dsdeploy", verb, str(self.site), "--yes"]
        return running(argv, log, ROOT, environment)

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

    def tell(self, host: str, command: str, check: bool = True) -> str:
        """The same by ssh alone: a second faster, for what has to happen at a moment."""
        argv = access.ssh_argv(load_site(self.site), host, [command])
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
        assert not check or done.returncode == 0, f"{host}$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def history(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("history", str(self.site), "--json").stdout)
        return answer

    def rotation(self) -> dict[str, dict[str, str]]:
        """For each router the colour that it sends each engine host's requests to."""
        show = "python3 /usr/local/lib/dsdeploy/router/dsdeploy_router.py show"
        return {name: json.loads(self.tell(name, show))["active"] for name in ("gw1", "gw2")}

    def want(self, version: str) -> None:
        """The site file asks for this version of the model."""
        text = re.sub(r"version: v\d", f"version: {version}", self.site.read_text())
        self.site.write_text(re.sub(r"/v\d/", f"/{version}/", text))

    def want_another(self, serving: str) -> str:
        """The site file asks for the version that does not serve, which is returned."""
        version = "v2" if serving.startswith("v1-") else "v1"
        self.want(version)
        return version

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


@dataclass
class Flow:
    """Load that flows; `forgiven` says which requests failed by what the test itself did to them."""

    forgiven: Callable[[Request], bool] = lambda request: False


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
    kept = os.environ.get("DSDEPLOY_KEEP_LAB", "")
    folder = Path(kept) if kept.startswith("/") else tmp_path_factory.mktemp("e2e")
    made = Lab(folder)
    if not made.site.exists():
        made.site.write_text(site_text())
        made.run("lab", "down", "--site", str(made.site), code=None)
        made.run("lab", "up", "--site", str(made.site))
    yield made
    if not kept:
        made.run("lab", "down", "--site", str(made.site))
        shutil.rmtree(folder, ignore_errors=True)


def site_text() -> str:
    """The operator's lab under another name, in another network, and in more of a hurry, but for dead machines:
    this computer's own may stop it for a second at any time, and what these tests hold is not the time to notice."""
    text = (ROOT / "inventory" / "lab" / "site.yml").read_text()
    changes = (
        ("site: lab", "site: e2e"), ("10.90.0.", NETWORK), ("soak: 10s", "soak: 2s"),
        ("router: {port: 8000,", "router: {port: 8000, failover: 10s,"),
    )  # fmt: skip
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture
def load(lab: Lab, tmp_path: Path) -> Callable[[], AbstractContextManager[Flow]]:
    """`with load():` requests come in through the virtual address; at its end every one must have been answered,
    by a release whose name was on the answer, but those that the test forgave."""

    @contextmanager
    def judged() -> Iterator[Flow]:
        flow = Flow()
        with flowing(tmp_path / "load.jsonl", f"{NETWORK}100:8000", RATE, MODEL) as traffic:
            yield flow
        requests = traffic.history()
        bad = [one for one in requests if not one.ok and not flow.forgiven(one)]
        strange = [one for one in requests if one.truncated and not flow.forgiven(one)]
        assert not bad and not strange, (judge.summary(requests), [vars(one) for one in (*bad, *strange)][:5])
        assert len(requests) > 20 and judge.unnamed(requests) == 0

    return judged


@pytest.fixture
def serving(lab: Lab) -> str:
    """The release that serves when the test begins."""
    return lab.serving()


@pytest.fixture
def site_put_back(lab: Lab) -> Iterator[None]:
    """The site file as it was, whatever the test asked for in it."""
    before = lab.site.read_text()
    yield
    lab.site.write_text(before)


ORDER = (
    "test_up", "test_integrity", "test_upgrade", "test_upgrade_gates", "test_upgrade_runs",
    "test_backup", "test_backup_faults", "test_logs", "test_faults", "test_crash_points", "test_doctor",
    "test_firewall", "test_monitor", "test_molecule", "test_wheel",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before -m is asked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bare machines first, faults when something serves; all the others of this folder before them.
    What does not share this lab has one of its own, and may run beside it."""
    here = Path(__file__).parent
    lab = [item for item in items if item.path.parent == here]
    lab.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)
    for item in lab:
        if "lab" not in getattr(item, "fixturenames", ()):
            item.add_marker("own_lab")
    others = [item for item in items if item.path.parent != here]
    items[:] = others + lab
