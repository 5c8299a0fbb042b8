"""Backups and logs on machines: timers by themselves, and the restore drill of docs/backup.md, command by command."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from dsdeploy.ensemble.session import session
from dsdeploy.site import load as load_site

from .conftest import ROOT, Lab
from .keeping import HOSTS, MEMBERS, kept, leave, on_all

pytestmark = [pytest.mark.lab, pytest.mark.drill]

CALM = {"when": "02:30", "rehearse": "monthly", "verify": "04:30", "logs": "hourly"}
HASTY = {"when": '"*:*:0/30"', "rehearse": '"*:*:15/30"', "verify": '"*:*:0/30"', "logs": '"*:*:0/20"'}
SECTIONS = """
backup: {{password_file: backup.password, jitter: 0s, when: {when}, rehearse: {rehearse}, verify: {verify}}}
logs: {{when: {logs}, file_size: 1MiB, total: 8MiB, journal: 64MiB}}
"""


def block(name: str) -> list[str]:
    """The commands of one drill on the page, as an operator copies them."""
    page = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- drill: {name} -->\n```\n(.*?)\n```", page, re.DOTALL)
    assert found, f"docs/backup.md has no drill {name}"
    return found[1].splitlines()


def drill(lab: Lab, name: str) -> list[str]:
    """Run them in the folder of the site file; what each printed. The lab's machines are reached by the lab's ssh."""
    said = []
    for line in block(name):
        words = shlex.split(line)
        if words[0] == "ssh":
            words = ["dsdeploy", "lab", "ssh", words[1].removeprefix("root@"), "--site", "site.yml", "--", *words[2:]]
        assert words[0] == "dsdeploy", line
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-m", *words], cwd=lab.folder, env=environment, capture_output=True,
                              text=True, timeout=600, check=False)  # fmt: skip
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        said.append(done.stdout + done.stderr)
    return said


def digests(lab: Lab, host: str) -> dict[str, str]:
    """Path -> SHA-256 of the journals of all runs that have ended, and of what says which release a host has."""
    files = "/var/lib/dsdeploy/runs/*.jsonl /var/lib/dsdeploy/weights/*/*.json /srv/dsdeploy/releases/*/manifest.json"
    said = lab.tell(host, f"sha256sum {files} 2>/dev/null", check=False)
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in said.splitlines())}


def record(lab: Lab) -> str:
    """What the ensemble keeps as the release that serves."""
    site = load_site(lab.site)
    with session(site, MEMBERS) as asked:
        found = asked.read(f"/dsdeploy/{site.site}/release")
    assert found is not None
    return str(found[0])


@pytest.fixture(scope="module")
def keeping(lab: Lab) -> Iterator[Lab]:
    """The lab's site with both sections; without them again afterwards, and nothing that wakes up by itself."""
    lab.serving()
    before = lab.site.read_text()
    password = lab.folder / "backup.password"
    password.write_text("a password of twenty and more characters\n")
    password.chmod(0o600)
    sections(lab, before, CALM)
    lab.up("--only", "backup")
    lab.run("backup", "run", str(lab.site))
    yield lab
    leave(lab, before)


def sections(lab: Lab, before: str, times: dict[str, str]) -> None:
    """The site file as it was, and these timers in it; put in place."""
    lab.site.write_text(before.partition("\nbackup:")[0] + SECTIONS.format(**times))


def wait_for_all(lab: Lab, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """What every host says once each of these has happened everywhere since now."""
    since = monotonic()
    deadline = since + 240
    while True:
        found = kept(lab)
        if all((host[name] or 1e9) < monotonic() - since for host in found.values() for name in names):
            return found
        assert monotonic() < deadline, found
        sleep(5)


def test_rotation_and_backups_happen_by_themselves_and_status_tells_their_age(keeping: Lab) -> None:
    lab, before = keeping, keeping.site.read_text()
    sections(lab, before, HASTY)
    lab.up("--only", "backup")
    on_all(lab, "mkdir -p /var/log/dsdeploy && head -c 3000000 /dev/urandom > /var/log/dsdeploy/drill.log")
    found = wait_for_all(lab, ("backup", "rehearsed", "read", "logs"))
    for host in found.values():
        assert host["backup_ok"] and host["rehearsed_ok"] and host["read_ok"] and host["logs_ok"]
    assert all("/var/log/dsdeploy/drill.log.1" in said for said in on_all(lab, "ls /var/log/dsdeploy/*").values())
    assert "BACKUP" in lab.run("status", str(lab.site)).stdout
    sections(lab, before, CALM)
    lab.up("--only", "backup")
    assert "0 changed" in lab.up("--only", "backup").stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed here (Debian package prometheus)")
def test_what_the_timers_left_is_what_prometheus_reads(keeping: Lab) -> None:
    for name in ("backup", "verify", "logs"):
        text = keeping.tell("gpu1", f"cat /var/lib/prometheus/node-exporter/dsdeploy_{name}.prom")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_an_upgrade_takes_a_snapshot_first_and_what_it_changed_is_in_the_next(keeping: Lab) -> None:
    lab = keeping
    lab.want_another(lab.serving())
    said = lab.upgrade().stderr
    assert said.index("a snapshot of every host before anything is switched") < said.index("start ")
    lab.run("backup", "run", str(lab.site))
    lab.run("backup", "verify", str(lab.site))
    listed = json.loads(lab.run("backup", "list", str(lab.site), "--json").stdout)
    assert listed["ok"]
    for host in listed["hosts"].values():
        newest = host["snapshots"][-1]
        assert newest["id"] == host["newest"] and all(one["state"] == "good" for one in host["snapshots"])
    assert all(host["checked_ok"] for host in kept(lab).values())


def test_a_look_at_a_snapshot_touches_nothing_that_lives(keeping: Lab) -> None:
    before = digests(keeping, "gpu1")
    found = drill(keeping, "look")[-1]
    manifests = [Path(line) for line in found.splitlines() if line.endswith("manifest.json")]
    assert any(path.parts[:3] == ("/", "root", "drill") and "releases" in path.parts for path in manifests)
    assert digests(keeping, "gpu1") == before


def test_one_host_that_lost_its_state_and_its_member_comes_back(keeping: Lab) -> None:
    lab = keeping
    before, said = digests(lab, "gpu1"), record(lab)
    lab.tell(
        "gpu1", "systemctl stop zookeeper && rm -rf /var/lib/zookeeper/data /var/lib/zookeeper/log /var/lib/dsdeploy"
    )
    assert lab.status(code=1)["quorum"]["serving"] == 2
    drill(lab, "one host")
    assert record(lab) == said
    assert before.items() <= digests(lab, "gpu1").items()
    status = lab.status()
    assert status["healthy"] and status["quorum"]["serving"] == 3
    lab.run("backup", "list", str(lab.site))  # no snapshot of the lost ledger is a stranger


def test_the_whole_ensemble_comes_back_with_history_and_the_record_of_what_serves(keeping: Lab) -> None:
    lab = keeping
    lab.run("backup", "run", str(lab.site))
    said, release = record(lab), lab.status()["release"]
    runs = [run["run"] for run in lab.history()["runs"]]
    before = {name: digests(lab, name) for name in HOSTS}
    for name in MEMBERS:
        lab.tell(name, "systemctl stop zookeeper && rm -rf /var/lib/zookeeper/data /var/lib/zookeeper/log")
    on_all(lab, "rm -rf /var/lib/dsdeploy/runs /var/lib/dsdeploy/epoch")
    assert lab.status(code=1)["quorum"]["serving"] == 0 and lab.history()["runs"] == []
    shown = drill(lab, "ensemble")[-1]
    status = lab.status()
    assert status["healthy"] and status["quorum"]["serving"] == 3 and status["release"] == release
    assert record(lab) == said and json.loads(said)["release"] == release
    assert runs[-1] in shown and set(runs) <= {run["run"] for run in lab.history()["runs"]}
    assert all(before[name].items() <= digests(lab, name).items() for name in HOSTS)
    assert "0 changed" in lab.up().stderr
