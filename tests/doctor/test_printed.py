"""What doctor prints can be run as it stands, on a site with a user, a port and host keys of its own; what it packs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import facts, hosts, site
from dsdeploy.commands import doctor as doctor_command
from dsdeploy.doctor import bundle, evidence, judge
from dsdeploy.doctor.finding import Finding
from dsdeploy.facts.host_log import HostLogFact

from .test_doctor import LOGS, WELL, blue, listens, stamp

ROOT = Path(__file__).resolve().parents[2]
LAB: dict[str, Any] = yaml.safe_load((ROOT / "inventory/lab/site.yml").read_text(encoding="utf-8"))


def made(folder: Path, **changes: Any) -> site.Site:
    """The lab's site file with changes, in a folder of its own."""
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "site.yml").write_text(yaml.safe_dump({**LAB, **changes}))
    return site.load(folder / "site.yml")


@pytest.fixture
def own(tmp_path: Path) -> site.Site:
    """User ops, another port."""
    (tmp_path / "our_hosts").write_text("[10.90.0.21]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk=\n")
    way = {"user": "ops", "port": 2222, "identity": "keys/id", "known_hosts": "our_hosts"}
    return made(tmp_path, ssh=way)


def everything(given: site.Site) -> list[Finding]:
    """Every finding there is: each reading and each line of the catalogue's tests, on gpu1."""
    changes = [
        {"Clock": {"offset_s": -95.0, "uncertainty_s": 0.1}}, listens(2181, "nginx"), stamp(8), stamp(9, "a"),
        stamp(12, strays=("b",)),
        {"Disks": {"/srv": {"mount": "/srv", "free": 2**20, "free_inodes": 12}}},
        {"PackageLock": {"held": True, "holder": "apt", "pid": 7}}, {"DriverModule": {"loaded": "1"}},
        blue("failed", "down", "failed/failed", 5), blue("active", "loading", "activating/start", 0),
        blue("active", "down", "active/running", 0),
    ]  # fmt: skip
    silent = {**WELL, "Srvr": {"answered": False, "mode": "", "error": "silent"}}
    found: list[Finding] = []
    base = evidence.gather(given, {})
    found += judge.findings(sick(base, silent)) + judge.findings(sick(base, silent, leader="gpu2"))
    for change in changes:
        found += judge.findings(sick(base, {**WELL, **change}))
    for case in LOGS:
        lines = {} if case["source"] == "run" else {case["source"]: (case["line"],)}
        run = (case["line"],) if case["source"] == "run" else ()
        found += judge.findings(sick(base, WELL, lines, run))
    for error in ("no SSH: did not answer", "no SSH: 10.90.0.21 port 2222 shows another host key than known_hosts has"):
        found += judge.findings(sick(base, WELL, reachable=False, error=error))
    return found


def sick(
    base: evidence.Evidence, said: Any, log: Any = None, run: tuple[str, ...] = (), leader: str = "", **more: Any
) -> evidence.Evidence:
    """gpu1 differs from hosts that are well; without a `leader` all members follow, so that there is no quorum."""
    well = {name: {**vars(host), "reachable": True, "error": "", "facts": WELL} for name, host in base.hosts.items()}
    if leader:
        well[leader]["facts"] = {**WELL, "Srvr": {"answered": True, "mode": "leader", "error": ""}}
    well["gpu1"] |= {"facts": said, "log": log or {}, **more}
    changed = {name: evidence.HostEvidence(**host) for name, host in well.items()}
    return evidence.Evidence(**{**vars(base), "hosts": changed, "run": run})


def test_a_wrong_model_name_is_looked_up_at_a_router(own: site.Site) -> None:
    (command,) = {finding.command for finding in everything(own) if finding.entry == "model"}
    assert command == "curl http://10.90.0.11:8000/v1/models"


def test_an_archive_from_before_there_were_logins_is_read(own: site.Site) -> None:
    old = evidence.gather(own, {}).as_json()
    del old["known_hosts"], old["ports"]["ssh"]
    for host in old["hosts"].values():
        del host["login"]
    given = evidence.from_json(json.loads(json.dumps(old)))
    assert given.hosts["gpu1"].on("true") == "ssh 10.90.0.21 true"
    assert given.forget("10.90.0.21").startswith("ssh-keygen -R 10.90.0.21; ")


CANARIES = {
    "webhook": "https://hooks.example.net/services/T0CANARY/B0CANARY/canarywebhook",
    "password": "canary-monitor-password", "repository": 'canary "quoted" repository',
    "key": "canaryAAAAB3NzaC1yc2EAAAADAQABAAABgQC", "s3": "canary/S3+secret/value",
}  # fmt: skip


def test_no_secret_that_the_site_file_names_is_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hosts say is stood in for; the site file, the logs of a run and the files that it names are real."""
    files = {
        "monitor.password": CANARIES["password"], "backup.password": CANARIES["repository"],
        "offsite": f"[default]\naws_secret_access_key = {CANARIES['s3']}\n{CANARIES['key']}\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    away = {"offsite": "s3:https://s3.example.net/b/p", "offsite_secret": "offsite"}
    watching = {"webhook": CANARIES["webhook"], "password_file": "monitor.password"}
    given = made(tmp_path, monitor=watching, backup={"password_file": "backup.password", **away})
    run = tmp_path / ".dsdeploy/lab/runs/20261122T000000-1-up"
    run.mkdir(parents=True)
    said = " ".join(CANARIES.values())
    (run / "a.log").write_text(said)
    (run / "a.jsonl").write_text(json.dumps({"item": said}))
    path = CANARIES["webhook"].removeprefix("https://hooks.example.net")
    log = facts.HostLog({"haproxy": (f"notify {path} failed", said)})
    reading = hosts.Reading("gw1", True, values={facts.HostLog: log})
    monkeypatch.setattr(hosts, "read", lambda given, *kinds: {"gw1": reading})
    archive = tmp_path / "support.tar.gz"
    doctor_command.collect(given.file, archive)
    with tarfile.open(archive) as packed:
        texts = {name: file.read().decode() for name in packed.getnames() if (file := packed.extractfile(name))}
    assert set(texts) == {"evidence.json", "site.yml", "run/a.log", "run/a.jsonl"}
    for name, canary in CANARIES.items():
        for file, text in texts.items():
            assert canary not in text and json.dumps(canary)[1:-1] not in text, (name, file)
    assert path not in texts["evidence.json"]
    assert "hosts:" in texts["site.yml"]


def test_the_log_that_was_written_last_comes_last(tmp_path: Path) -> None:
    """The play that failed is what doctor looks for; its name may be the first of the alphabet."""
    for age, name in ((300, "zookeeper.log"), (200, "weights.log"), (0, "engine.log")):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert list(bundle.run_files(tmp_path)) == ["zookeeper.log", "weights.log", "engine.log"]


STUBS = {
    "systemctl": 'echo "ActiveState=$STATE"; echo "InactiveExitTimestampMonotonic=$EXIT"\n',
    "journalctl": 'echo "$*" >>"$CALLS"\n',
    "date": "echo 2000000\n",
    "cat": "echo 500000.00 900000.00\n",  # /proc/uptime
}


@pytest.mark.parametrize(
    ("state", "ago", "wanted"),
    [
        ("active", 600, 600),  # what a start before this one said is mended
        ("active", 90_000, 3600),  # what it said yesterday is over
        ("failed", 90_000, 90_000),  # it is down since, and that is why
        ("failed", 60, 3600),
        ("activating", 5, 3600),  # the tries before this one say why
        ("inactive", 90_000, 3600),  # the colour that is parked
        ("inactive", None, 3600),
    ],
)
def test_lines_count_as_long_as_they_are_about_now(state: str, ago: int | None, wanted: int, tmp_path: Path) -> None:
    """The command as hosts run it; systemctl, journalctl and the clock are stood in for."""
    for name, text in STUBS.items():
        (tmp_path / name).write_text("#!/bin/sh\n" + text)
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": state, "CALLS": str(calls),
        "EXIT": "0" if ago is None else f"{500_000 - ago}000000",
    }  # fmt: skip
    subprocess.run(["sh", "-c", HostLogFact().command()], env=environment, capture_output=True, check=True, timeout=60)
    asked = {line for line in calls.read_text().splitlines() if "zookeeper" in line}
    assert len(asked) == 1
    since = int(re.findall(r"--since=@(\d+)", asked.pop())[0])
    assert since == 2_000_000 - wanted
    assert f"-k --since=@{2_000_000 - 3600} " in calls.read_text()
