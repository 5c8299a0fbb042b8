"""Faults made on machines: doctor names each, the command it gives mends it; archives hold no secret and are enough."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .ailments import phases
from .clinic import HEAD, Clinic
from .conftest import Lab
from .terminal import Operator
from .test_up import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.drill]

CANARIES = {"comment": "canary-in-a-comment-1", "log": "canary-in-a-log-2", "request": "canary-in-a-request-3"}


@pytest.fixture(scope="module")
def serving(lab: Lab) -> str:
    return lab.serving()


@contextmanager
def secrets_about(lab: Lab) -> Iterator[None]:
    """Where people leave them: the site file, a run's log, and what a router logs of a request it refuses."""
    before = lab.site.read_text()
    newest = max((lab.folder / ".dsdeploy").glob("*/runs/*"), key=lambda run: run.name)
    log = newest / "zz.log"
    try:
        lab.site.write_text(f"{before}# password: {CANARIES['comment']}\n")
        log.write_text(f"Authorization: Bearer {CANARIES['log']}\n")
        address = lab.address("gw1")
        lab.tell("gw1", f"curl -s -o /dev/null 'http://{address}:8000/slots?api_key={CANARIES['request']}'")
        yield
    finally:
        lab.site.write_text(before)
        log.unlink(missing_ok=True)


def found(lab: Lab, *words: str) -> list[dict[str, Any]]:
    """doctor's findings about the faults of this file: other tests of the same hour leave theirs in logs, too."""
    said = json.loads(lab.run("doctor", *words, "--json", code=None).stdout)
    return [one for one in said["findings"] if one["entry"] in ("quorum", "hung", "port")]


def told(archive: Path) -> str:
    with tarfile.open(archive) as packed:
        return "".join(file.read().decode() for name in packed.getnames() if (file := packed.extractfile(name)))


@contextmanager
def three_faults(lab: Lab) -> Iterator[None]:
    """Two members stopped, an engine that hangs, a router's port taken; nothing of them is left."""
    unit = f"dsdeploy-engine@{lab.rotation()['gw1']['gpu1']}"
    for host in ("gpu1", "gpu2"):
        lab.tell(host, "systemctl stop zookeeper")
    lab.tell("gpu1", f"systemctl kill -s STOP {unit}")
    lab.tell("gw2", "systemctl stop haproxy && systemd-run --quiet --unit squatter python3 -m http.server 8000")
    try:
        wait_for(lambda: "LISTEN" in lab.tell("gw2", "ss -Hltn 'sport = 8000'"), 20)
        yield
    finally:
        lab.tell("gpu1", f"systemctl kill -s CONT {unit}", check=False)
        for host in ("gpu1", "gpu2"):
            lab.tell(host, "systemctl start zookeeper", check=False)
        lab.tell("gw2", "systemctl stop squatter; systemctl start haproxy", check=False)


def test_three_faults_are_named_and_mended_by_the_commands_that_stand_there(
    lab: Lab, serving: str, tmp_path: Path
) -> None:
    archive = tmp_path / "support.tar.gz"
    with three_faults(lab):
        with secrets_about(lab):
            sick = {one["entry"]: one for one in found(lab, str(lab.site), "--bundle", str(archive))}
        assert set(sick) == {"quorum", "hung", "port"}
        # the third runs, but serves nobody without a majority
        assert sick["quorum"]["cause"] == "0 of 3 members serve, 2 are needed; down: gw1, gpu1, gpu2"
        # the archive alone says the same, and nothing that was to stay here
        assert {one["entry"]: one for one in found(lab, "--from", str(archive))} == sick
        assert [name for name, canary in CANARIES.items() if canary in told(archive)] == []
        operator = Operator(lab, tmp_path)
        for entry in ("quorum", "hung", "port"):
            said = operator.type(sick[entry]["command"])
            assert said.code == 0, said
        wait_for(lambda: lab.run("status", str(lab.site), code=None).returncode == 0, 90)
    assert found(lab, str(lab.site)) == []  # HAProxy's log still has the words, of a start before this one


def test_each_fault_is_made_named_and_mended_by_the_line_that_stands_there(
    lab: Lab, serving: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clinic = Clinic(Operator(lab, tmp_path))
    rows = [HEAD]
    try:
        for ailments in phases(lab, clinic.operator):
            rows += clinic.treat(ailments)
            wait_for(lambda: lab.run("status", str(lab.site), code=None).returncode == 0, 90)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(table(rows)))
    clinic.until_well()
    assert lab.status()["release"] == serving


def table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """One fault in two lines: diagnoses and commands are long."""
    for what, host, diagnosis, command, after in rows:
        yield f"{what:38}  {host:6}  {diagnosis}"
        yield f"{'':38}  {'':6}  {command}  ->  {after}"


def test_an_up_that_fails_leaves_an_archive_and_names_it(lab: Lab, serving: str) -> None:
    lab.tell("gw2", "systemctl stop haproxy && systemctl mask --runtime haproxy")
    try:
        with secrets_about(lab):
            failed = lab.up("--only", "router", code=1)
    finally:
        lab.tell("gw2", "systemctl unmask --runtime haproxy && systemctl start haproxy")
    words = r"what the hosts say now is in (\S+\.tar\.gz); dsdeploy doctor --from (\S+) explains it"
    named = re.search(words, failed.stderr)
    assert named is not None and named[1] == named[2], failed.stderr
    text = told(Path(named[1]))
    assert "haproxy.service is masked" in text, "the task that failed is in it"
    assert [name for name, canary in CANARIES.items() if canary in text] == []
    assert Path(named[1]).stat().st_mode & 0o777 == 0o600
    lab.run("doctor", "--from", named[1], code=None)
    wait_for(lambda: lab.run("status", str(lab.site), code=None).returncode == 0, 90)
