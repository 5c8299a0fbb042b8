"""Each known fault from a line or a reading that shows it; the archive without secrets, and doctor offline on it."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dsdeploy import __main__, hosts
from dsdeploy.cli import cli
from dsdeploy.commands import doctor as doctor_command
from dsdeploy.doctor import bundle, catalogue, evidence, judge
from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.doctor.finding import Finding
from dsdeploy.errors import DsdeployError, GateError, PlaybookFailed, Problem

LOGS = yaml.safe_load((Path(__file__).parent / "logs.yml").read_text(encoding="utf-8"))
WELL: dict[str, Any] = {
    "Clock": {"offset_s": 0.2, "uncertainty_s": 0.01, "synchronized": True},
    "Disks": {"/srv": {"path": "/srv", "mount": "/", "total": 2**40, "free": 2**39, "free_inodes": 10**6}},
    "PackageLock": {"held": False, "holder": "", "pid": None, "path": ""},
    "Srvr": {"answered": True, "mode": "follower", "error": ""},
    "Ports": [{"port": 2181, "address": "10.0.0.1", "process": "java", "pid": 7}],
    "Engines": {"blue": {"unit": "active", "health": "ok", "detail": "active/running", "restarts": 0}},
    "Gpus": [{"driver": "580.65.06"}],
    "DriverModule": {"loaded": "580.65.06"},
    "Weights": {"m/v1": {"digest": "sha256:ab", "size": 10, "bytes": 10, "bad": []}},
}


def blue(unit: str, health: str, detail: str, restarts: int) -> dict[str, Any]:
    return {"Engines": {"blue": {"unit": unit, "health": health, "detail": detail, "restarts": restarts}}}


def stamp(size: int, *bad: str, strays: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"Weights": {"m/v1": {"digest": "d", "size": size, "bytes": 9, "bad": list(bad), "strays": strays}}}


def listens(port: int, process: str) -> dict[str, Any]:
    return {"Ports": [{"port": port, "address": "*", "process": process, "pid": 9}]}


def seen(
    changes: Mapping[str, Any] = {}, log: Mapping[str, tuple[str, ...]] = {}, run: tuple[str, ...] = (), **host: Any
) -> Evidence:
    """A site of three well members, of which `gpu1` differs by what is given."""
    hosts = {
        name: HostEvidence(("router", "engine", "zookeeper"), f"10.0.0.{number}", True, "", WELL)
        for number, name in enumerate(("gw1", "gpu1", "gpu2"), 1)
    }
    leader = WELL | {"Srvr": {"answered": True, "mode": "leader", "error": ""}}
    hosts["gw1"] = HostEvidence(hosts["gw1"].roles, "10.0.0.1", True, "", leader)
    given = {"roles": hosts["gpu1"].roles, "address": "10.0.0.2", "reachable": True, "error": ""} | host
    hosts["gpu1"] = HostEvidence(**given, facts=WELL | dict(changes), log=log)
    ports = {"blue": 8101, "green": 8102, "zookeeper": 2181, "router": 8000}
    return Evidence("lab", "/s/site.yml", 1795338000.0, "deepseek-tiny", tuple(hosts), ports, hosts, run)


def logged(source: str, line: str) -> list[Finding]:
    given = seen(run=("begin", line, "end")) if source == "run" else seen(log={source: ("begin", line, "end")})
    return judge.findings(given)


def test_a_site_that_is_well_has_nothing() -> None:
    assert judge.findings(seen()) == []


@pytest.mark.parametrize("case", LOGS, ids=lambda case: f"{case['entry']}-{case['source']}")
def test_a_line_of_a_log_is_explained(case: dict[str, str]) -> None:
    (found,) = [finding for finding in logged(case["source"], case["line"]) if finding.entry == case["entry"]]
    assert found.host == ("" if case["source"] == "run" else "gpu1")
    assert case["symptom"] in found.symptom and case["command"] in found.command
    assert case.get("cause", "") in found.cause
    assert "{" not in found.symptom + found.cause + found.command.removeprefix("${EDITOR:-vi}")
    assert logged(case["source"], case["not"]) == []


def test_every_entry_of_the_catalogue_has_a_line() -> None:
    hit = {
        entry
        for case in LOGS
        for entry in catalogue.ENTRIES
        if case["source"].startswith(entry.sources) and re.search(entry.pattern, case["line"])
    }
    # the runtimes' other words for the same: told apart by nothing but their text
    assert {entry.pattern for entry in catalogue.ENTRIES if entry not in hit} == {
        r"No available memory for the cache blocks|cudaMalloc failed: out of memory|unable to allocate \w+ buffer"
    }


@pytest.mark.parametrize(
    "line", ["ValueError: No available memory for the cache blocks.", "cudaMalloc failed: out of memory"]
)
def test_the_runtimes_other_words_for_a_full_gpu(line: str) -> None:
    assert [finding.entry for finding in logged("engine-blue", line)] == ["memory"]


@pytest.mark.parametrize(
    ("entry", "changes", "symptom", "command"),
    [
        ("clock", {"Clock": {"offset_s": -95.0, "uncertainty_s": 0.1}}, "95 s behind", "timedatectl"),
        ("disk", {"Disks": {"/srv": {"mount": "/srv", "free": 2**40, "free_inodes": 12}}}, "12 inodes", "du --inodes"),
        ("disk", {"Disks": {"/var": {"mount": "/", "free": 2**20, "free_inodes": None}}}, "1 MiB", "du -xah"),
        ("port", listens(8000, "nginx"), "nginx (pid 9)", "kill 9 && dsdeploy up SITE"),
        ("driver", {"Gpus": [{"driver": "580.95.05"}]}, "module 580.65.06 is in memory, 580.95.05", "reboot"),
        ("package-lock", {"PackageLock": {"held": True, "holder": "apt", "pid": 5}}, "apt (pid 5)", "--pid=5 &&"),
        ("model", {"UnknownModels": {"a": 1, "gpt-4": 9}}, "10 requests for models that are not served", "curl"),
        ("md5", stamp(9, "a.safetensors"), "a.safetensors", "weights"),
        ("truncated", stamp(1), "verified were 9", "weights"),
        ("truncated", stamp(1, "a.safetensors"), "has 1 bytes, verified were 9", "weights"),
        ("start-slow", blue("active", "loading", "activating/start", 0), "still loads", "systemctl start"),
        ("start-slow", blue("active", "down", "activating/start", 0), "still loads", "systemctl start"),
        ("start-dead", blue("failed", "down", "failed/failed, exit-code", 5), "5 restarts", "journalctl"),
        ("start-dead", blue("active", "down", "activating/auto-restart, exit-code", 2), "does not start", "journalctl"),
        ("hung", blue("active", "down", "active/running", 0), "answers nothing", "systemctl restart"),
    ],
)
def test_a_reading_is_explained(entry: str, changes: dict[str, Any], symptom: str, command: str) -> None:
    (found,) = judge.findings(seen(changes))
    assert (found.entry, found.host) == (entry, "gpu1")
    assert symptom in found.symptom and command in found.command


def test_a_lost_quorum_counts_names_and_says_how_to_get_it_back() -> None:
    given = seen({"Srvr": {"answered": False, "mode": "", "error": "nothing listens on its client port"}})
    (alone,) = judge.findings(given)  # two of three still are one
    assert (alone.entry, alone.host) == ("member", "gpu1")
    assert alone.symptom == "the ZooKeeper member of gpu1 does not serve: nothing listens on its client port"
    assert "2 of 3 members serve, 2 are needed: the next one that goes takes the quorum" in alone.cause
    assert "systemctl reset-failed zookeeper; dsdeploy up SITE --only ensemble" in alone.command
    hosts = dict(given.hosts)
    hosts["gpu2"] = HostEvidence(hosts["gpu2"].roles, "10.0.0.3", False, "no SSH: did not answer", {})
    found = judge.findings(Evidence(**{**vars(given), "hosts": hosts}))
    assert [finding.entry for finding in found] == ["login", "quorum"]
    quorum = found[1]
    assert "1 of 3 members serve, 2 are needed; down: gpu1, gpu2" in quorum.cause
    assert "10.0.0.2 systemctl start zookeeper" in quorum.command and "--only ensemble" in quorum.command


CANARIES = {
    "password": "canary-password-1", "url": "canary-url-2", "bearer": "canarybearer3", "key": "canarykeyAAAA4",
    "token": "hf_canarytoken5canary", "known": "canary-known-6-without-a-name", "json": "canary-json-7",
}  # fmt: skip


def packed(tmp_path: Path) -> Path:
    """An archive of a sick host whose every file has secrets in it."""
    c = CANARIES
    line = (
        f"starting with --api-key={c['password']} https://user:{c['url']}@mirror/x Authorization: Bearer {c['bearer']}"
    )
    given = seen({"Note": f"password: {c['known']}"}, {"engine-blue": (line, "No space left on device")}, (c["token"],))
    site = f"site: lab\nengine: {{context_tokens: 4096}}\nsecret_token: '{c['password']}'\n"
    run = {
        "engine.log": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{c['key']}\n-----END OPENSSH PRIVATE KEY-----\n",
        "engine.jsonl": json.dumps({"task": "x", "db_password": c["json"]}) + "\nplain " + c["known"],
    }
    path = tmp_path / "support.tar.gz"
    bundle.write(path, given, site, run, [c["known"]])
    return path


def test_no_secret_is_in_the_archive(tmp_path: Path) -> None:
    path = packed(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        names = archive.getnames()
        text = "".join(found.read().decode() for name in names if (found := archive.extractfile(name)))
    assert names == ["evidence.json", "site.yml", "run/engine.log", "run/engine.jsonl"]
    assert [name for name, canary in CANARIES.items() if canary in text] == []
    assert text.count(bundle.GONE) >= len(CANARIES) and "context_tokens: 4096" in text


def test_doctor_runs_on_the_archive_without_a_host_or_a_site_file(tmp_path: Path) -> None:
    path = packed(tmp_path)
    found = judge.findings(bundle.read(path))
    assert [(finding.entry, finding.host) for finding in found] == [("disk", "gpu1")]
    shown = CliRunner().invoke(cli, ["doctor", "--from", str(path), "--json"], standalone_mode=False)
    assert shown.return_value == 1
    assert json.loads(shown.output)["findings"][0]["entry"] == "disk"


def test_evidence_is_the_same_after_a_file() -> None:
    given = seen({}, {"kernel": ("a", "b")}, ("c",))
    assert evidence.from_json(json.loads(json.dumps(given.as_json()))) == given


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(DsdeployError, match="not a bundle"):
        bundle.read(tmp_path / "x.tar.gz")


def test_of_a_run_only_its_logs_are_taken(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for name in ("inventory.yml", "a.log", "weights/b.jsonl", "weights/inventory.yml"):
        (tmp_path / name).write_text(name)
    assert bundle.run_files(tmp_path) == {"a.log": "a.log", "weights/b.jsonl": "weights/b.jsonl"}
    assert bundle.run_files(None) == {}


@pytest.mark.parametrize(
    ("argv", "error", "kept"),
    [
        (["up", "a.yml"], PlaybookFailed([Problem("x")]), ["a.yml"]),
        (["upgrade", "a.yml"], GateError("no"), ["a.yml"]),
        (["up"], DsdeployError("refused before anything was touched"), []),
        (["status", "a.yml"], GateError("no"), []),
    ],
)
def test_a_run_that_failed_on_hosts_leaves_an_archive(
    argv: list[str], error: DsdeployError, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(doctor_command, "keep", lambda path: made.append(str(path)))
    __main__.support(error, argv)
    assert made == kept


def test_the_archive_of_a_failed_run_is_named_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reading of hosts, the outermost edge, is stood in for: no host is there."""
    site = tmp_path / "site.yml"
    site.write_text((Path(__file__).parents[2] / "inventory/lab/site.yml").read_text())
    folder = tmp_path / ".dsdeploy/lab/support"
    folder.mkdir(parents=True)
    for day in range(7):
        (folder / f"2026010{day}T000000Z.tar.gz").touch()
    monkeypatch.setattr(hosts, "read", lambda given, *kinds: {"gw1": hosts.Reading("gw1", False, "no SSH: timeout")})
    made = doctor_command.keep(site)
    assert made is not None and len(list(folder.glob("*.tar.gz"))) == 5
    assert "gw1" in [finding.host for finding in judge.findings(bundle.read(made)) if finding.entry == "login"]
    assert str(made) in capsys.readouterr().err.replace("\n", "")


def test_a_site_file_that_is_wrong_leaves_no_archive_and_no_second_error(tmp_path: Path) -> None:
    assert doctor_command.keep(tmp_path / "absent.yml") is None
