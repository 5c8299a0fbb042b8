"""What doctor prints is a line that a shell runs as it stands, and it goes where the site file says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dsdeploy import site
from dsdeploy.cli import cli
from dsdeploy.doctor import evidence, judge
from dsdeploy.doctor.catalogue import ENTRIES

from .test_doctor import WELL, stamp
from .test_printed import everything, own, sick

__all__ = ["own"]

STUB = """#!/bin/sh
# of the tests: what is called by name, and what it was given on its standard input
name=$(basename "$0")
{ echo "$name"; for word in "$@"; do echo "$word"; done; } >"$CALLS/$(date +%s%N)-$name"
[ "$name" = ssh-keyscan ] && cat "$KEY"
[ "$name" = ssh ] && [ ! -t 0 ] && cat >"$CALLS/stdin"
exit 0
"""
ON_HOSTS = {
    "systemctl", "journalctl", "timedatectl", "df", "du", "ss", "date", "true", "kill", "tail", "rm", "tee", "sh",
}  # fmt: skip


def typed(line: str, folder: Path) -> list[list[str]]:
    """What an operator's shell does with a line that is copied into it: the programs that it calls, with their words.
    ssh, ssh-keyscan, curl, dsdeploy and the editor are stood in for; all else is real."""
    calls, tools = folder / "calls", folder / "tools"
    shutil.rmtree(calls, ignore_errors=True)
    calls.mkdir()
    if not tools.exists():
        tools.mkdir()
        for name in ("ssh", "ssh-keyscan", "curl", "dsdeploy", "vi"):
            (tools / name).write_text(STUB)
            (tools / name).chmod(0o755)
        (folder / "lab.pem").write_text("the new one\n")
    path = f"{tools}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "CALLS": str(calls), "KEY": str(folder / "key")}
    done = subprocess.run(
        ["bash", "-c", line], env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=20,
    )  # fmt: skip
    assert "command not found" not in done.stderr and "syntax error" not in done.stderr, (line, done.stderr)
    return [one.read_text().splitlines() for one in sorted(calls.iterdir()) if one.name != "stdin"]


def test_every_printed_command_is_a_line_that_a_shell_runs_and_reaches_hosts_as_the_site_file_says(
    own: site.Site, tmp_path: Path
) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    key = (tmp_path / "id.pub").read_text()
    (tmp_path / "key").write_text(f"[10.90.0.21]:2222 {key}")
    found = everything(own)
    every = {entry.name for entry in ENTRIES} | {
        "login",
        "quorum",
        "member",
        "hung",
        "start-slow",
        "start-dead",
        "foreign",
    }
    assert {finding.entry for finding in found} == every | {"clock"}
    for finding in found:
        called = typed(finding.about(str(own.file)).command, tmp_path)
        assert called, finding
        for name, *words in called:
            if name == "ssh":
                known = f"UserKnownHostsFile={tmp_path}/our_hosts"
                assert words[:6] == ["-p", "2222", "-i", f"{tmp_path}/keys/id", "-o", known], finding
                assert re.fullmatch(r"ops@10\.90\.0\.\d+", words[6]), finding
                sudo, tool = " ".join(words[7:]).split()[:2]
                assert sudo == "sudo" and tool in ON_HOSTS, finding
            elif name == "ssh-keyscan":
                assert words == ["-p", "2222", "10.90.0.21"]
            elif name == "dsdeploy":
                verb, file, *rest = words
                assert file == str(own.file)
                cli.commands[verb].make_context(verb, [file, *rest])  # raises for what there is not
            elif name == "vi":
                assert words == [str(own.file)]
            else:
                assert name == "curl" and words[-1].startswith("http")
    assert (
        tmp_path / "our_hosts"
    ).read_text() == f"[10.90.0.21]:2222 {key}"  # the present key in the known one's place


def test_a_new_certificate_goes_over_standard_input(own: site.Site, tmp_path: Path) -> None:
    base = evidence.gather(own, {})
    said = {"certificates": ("1 /etc/dsdeploy/tls/lab.pem",)}
    (found,) = (one for one in judge.findings(sick(base, WELL, said)) if one.entry == "certificate")
    (ssh, *words), up = typed(found.about(str(own.file)).command, tmp_path)
    assert (ssh, words[-1]) == ("ssh", "/etc/dsdeploy/tls/lab.pem") and "tee" in words[-2]
    assert (tmp_path / "calls" / "stdin").read_text() == "the new one\n"
    assert up == ["dsdeploy", "up", str(own.file)]


def test_strays_with_any_name_are_moved_on_the_host(own: site.Site, tmp_path: Path) -> None:
    """What arrives there is run by a shell of this computer, on folders of its own."""
    base = evidence.gather(own, {})
    said = WELL | stamp(12, strays=("it's $(x) a.bin",))
    (found,) = (one for one in judge.findings(sick(base, said)) if one.entry == "foreign")
    (_, *words), up = typed(found.about(str(own.file)).command, tmp_path)
    (tmp_path / "srv/dsdeploy/weights/m/v1").mkdir(parents=True)
    (tmp_path / "srv/dsdeploy/weights/m/v1/it's $(x) a.bin").touch()
    there = " ".join(words[7:]).removeprefix("sudo ").replace("/srv/", f"{tmp_path}/srv/")
    subprocess.run(["sh", "-c", there], check=True)
    assert [one.name for one in (tmp_path / "srv/dsdeploy/strays").iterdir()] == ["it's $(x) a.bin"]
    assert up == ["dsdeploy", "up", str(own.file), "--only", "weights", "--limit", "gpu1"]
