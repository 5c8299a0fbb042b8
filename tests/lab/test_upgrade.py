"""A new release that is no good, under load: the old one serves throughout, and the operator is told why (exit 5)."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from signal import SIGINT

import pytest

from ..load.history import Request
from .conftest import Flow, Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("site_put_back")]

NOTICED_S = 0.5  # what a killed engine may take to leave every rotation: bench-failover holds it to that

Load = Callable[[], AbstractContextManager[Flow]]
BUILDS = "/srv/dsdeploy/builds"


def idle(lab: Lab, host: str) -> str:
    """The colour in which the next release starts on this host."""
    return "green" if lab.rotation()["gw1"][host] == "blue" else "blue"


def as_before(lab: Lab, serving: str, began: dict[str, dict[str, str]]) -> None:
    """The old release serves alone, the new one is stopped, and every host remembers the run's outcome."""
    assert lab.status()["release"] == serving
    assert lab.rotation() == began
    for host in ("gpu1", "gpu2"):
        states = lab.tell(host, "systemctl is-active dsdeploy-engine@blue dsdeploy-engine@green", check=False).split()
        assert states.count("active") == 1 and set(states) <= {"active", "inactive", "failed"}
    last = lab.history()["runs"][-1]
    assert (last["verb"], last["outcome"], last["from"]) == ("upgrade", "returned", serving)


@contextmanager
def read_only(lab: Lab, host: str, path: str) -> Iterator[None]:
    lab.tell(host, f"mount --bind {path} {path} && mount -o remount,bind,ro {path}")
    try:
        yield
    finally:
        lab.tell(host, f"umount {path}")


def test_a_build_that_fails_on_the_second_host(lab: Lab, load: Load, serving: str) -> None:
    began = lab.rotation()
    lab.want_another(serving)
    lab.edit("precision: q8_0", "precision: f16")  # a build that is on no host yet
    with read_only(lab, "gpu2", BUILDS), load():
        said = lab.upgrade(code=5).stderr
    assert "error: gpu2: the build cannot be made: Read-only file system" in said
    assert "at: host gpu2, build" in said and "host gpu1" not in said
    assert f"{serving} serves as before; nothing was switched" in said and "try: " in said
    as_before(lab, serving, began)


def lies(version: Path) -> None:
    """Another answer to each known question, under sums that are right again."""
    known = version / "known_answers.json"
    entries = json.loads(known.read_text())
    known.write_text(json.dumps([entry | {"answer": " forty-two"} for entry in entries], indent=1) + "\n")
    content = known.read_bytes()
    md5, sha256 = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    sums = version / "MD5SUMS"
    sums.write_text(re.sub(r"\S+  known_answers\.json", f"{md5}  known_answers.json", sums.read_text()))
    manifest = json.loads((version / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["path"] == known.name:
            file |= {"size": len(content), "md5": md5, "sha256": sha256}
    (version / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


@pytest.fixture
def liar(lab: Lab) -> Iterator[str]:
    """A version at the mirror whose engine answers other than its weights promise."""
    good = next(lab.mirror.rglob("v2"))
    bad = good.with_name("v3")
    shutil.copytree(good, bad, dirs_exist_ok=True)
    lies(bad)
    yield bad.name
    shutil.rmtree(bad)


@contextmanager
def never_ready(lab: Lab, host: str, colour: str) -> Iterator[None]:
    drop_in = f"/run/systemd/system/dsdeploy-engine@{colour}.service.d"
    text = "[Service]\\nExecStartPre=/bin/sleep 1000\\n"
    lab.tell(host, f"mkdir -p {drop_in} && printf '{text}' > {drop_in}/slow.conf && systemctl daemon-reload")
    try:
        yield
    finally:
        lab.tell(host, f"rm -r {drop_in} && systemctl daemon-reload && systemctl reset-failed")


def test_garbage_as_known_answer_on_one_host_and_never_ready_on_the_other(
    lab: Lab, load: Load, serving: str, liar: str
) -> None:
    began = lab.rotation()
    lab.want(liar)
    lab.edit("  runtime: llamacpp\n", "  runtime: llamacpp\n  start_timeout: 15s\n")
    with never_ready(lab, "gpu2", idle(lab, "gpu2")), load():
        said = lab.upgrade(code=5).stderr
    assert re.search(r"gpu1.* is wrong: .*wanted ' forty-two', got '", said)
    assert re.search(r"gpu2.* (not ready after 15 s|died while starting \(timeout\))", said)
    assert f"{liar}-" in said and f"was given up: {serving} serves, on every host; its files stay" in said
    assert "Starting dsdeploy-engine@" in said  # systemd's and the engine's last words
    as_before(lab, serving, began)


def test_an_engine_that_hangs_in_the_soak_before_the_switch(lab: Lab, load: Load, serving: str) -> None:
    began, unit = lab.rotation(), f"dsdeploy-engine@{idle(lab, 'gpu2')}"
    lab.want_another(serving)
    lab.edit("soak: 2s", "soak: 8s")
    with load(), lab.begin("upgrade") as running:
        running.until("... soak before the switch")
        lab.tell("gpu2", f"systemctl kill --signal STOP {unit}")
        said = running.end(5)
    assert "turned bad during the soak: engine" in said and "on gpu2" in said
    assert "the engine's last words on gpu2" in said and f"{serving} serves, on every host" in said
    assert "requests of gpu1 go to" not in said
    as_before(lab, serving, began)


def test_a_canary_that_is_killed_in_the_soak_after_its_switch(lab: Lab, load: Load, serving: str) -> None:
    """What the killed process was just answering, or was handed before the routers noticed, is lost with it,
    unless it can be asked again; nothing else is."""
    began, unit = lab.rotation(), f"dsdeploy-engine@{idle(lab, 'gpu1')}"
    other = lab.want_another(serving)
    lab.edit("soak: 2s", "soak: 8s")
    with load() as flow, lab.begin("upgrade") as running:
        running.until("... soak after the switch of gpu1")
        since = time.time()
        lab.tell("gpu1", f"systemctl kill --signal KILL {unit}")
        until = time.time()
        flow.forgiven = lambda one: in_flight(one, since, until + NOTICED_S)
        said = running.end(5)
    assert "turned bad during the soak: engine" in said and "on gpu1" in said
    assert "the engine's last words on gpu1" in said and f"{serving} serves, on every host" in said
    assert f"requests of gpu2 go to {other}" not in said
    as_before(lab, serving, began)


def in_flight(one: Request, since: float, until: float) -> bool:
    """A completion that was under way at some moment of these, and so perhaps by the engine that died then."""
    return not one.idempotent and one.sent is not None and one.sent <= until and one.end >= since


@pytest.fixture
def hooks(lab: Lab) -> Iterator[Path]:
    folder = lab.folder / "hooks"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def write_hook(folder: Path, name: str, code: int = 0, words: str = "") -> Path:
    """A hook that keeps what it was told in the file returned."""
    told = folder / f"{name}.json"
    (folder / name).write_text(f"#!/bin/sh\ncat > {told}\necho '{words}'\nexit {code}\n")
    (folder / name).chmod(0o755)
    return told


def test_a_hook_that_says_no_before_the_switch(lab: Lab, load: Load, serving: str, hooks: Path) -> None:
    began = lab.rotation()
    other = lab.want_another(serving)
    first = write_hook(hooks, "pre-upgrade")
    second = write_hook(hooks, "pre-switch", code=3, words="the shop is open until six")
    with load():
        said = lab.upgrade(code=5).stderr
    assert "the hook pre-switch said no (exit 3)" in said and "the shop is open until six" in said
    assert f"requests of gpu1 go to {other}" not in said
    as_before(lab, serving, began)
    told = json.loads(first.read_text()), json.loads(second.read_text())
    last = lab.history()["runs"][-1]
    for name, one in zip(("pre-upgrade", "pre-switch"), told, strict=True):
        assert (one["hook"], one["site"], one["run"], one["from"]) == (name, "e2e", last["run"], serving)
    assert told[1]["batch"] == ["gpu1"] and told[1]["to"].startswith(f"{other}-")


def test_ctrl_c_before_the_switch_and_abort(lab: Lab, load: Load, serving: str) -> None:
    began = lab.rotation()
    other = lab.want_another(serving)
    with load():
        with lab.begin("upgrade") as running:
            running.until(f"... start {other}-")
            running.signal(SIGINT)
            said = running.end(130)
        assert "stopping after this step" in said and f"ok  start {other}-" in said and "requests of gpu1" not in said
        assert "dsdeploy resume" in said and "dsdeploy abort" in said
        left = lab.history()["runs"][-1]
        assert (left["outcome"], left["step"]) == ("unfinished", "start")
        lab.run("abort", str(lab.site), "--yes")
    assert lab.status()["release"] == serving and lab.rotation() == began
    assert lab.history()["runs"][-1]["outcome"] == "aborted"
    assert "nothing to abort" in lab.run("abort", str(lab.site), "--yes").stdout
