"""Backups on machines when something goes wrong half way; and where their secrets are to be seen, which is nowhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dsdeploy.backup.variables import key_file
from dsdeploy.lab import access
from dsdeploy.site import load as load_site

from .conftest import NETWORK, Lab
from .keeping import HOSTS, command, kept, leave, on_all
from .test_up import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.drill]

PASSWORD = "canary-of-the-sites-password-7f3a91c2"
DECOY = "canary-that-is-there-to-be-seen-5b8e02d4"
VAULT = f"sftp://root@{NETWORK}12:2222/srv/vault"
SECTION = f"""
backup:
  {{password_file: backup.password, offsite: "{VAULT}", offsite_secret: vault_key,
   offsite_known_hosts: vault_known_hosts, jitter: 0s}}
"""
SSHD = """Port 2222
HostKey /root/vault/host
AuthorizedKeysFile /root/vault/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
"""
# a set of a later role, with as much in it as a moment half way needs; one file that a restore would bring back
SET = '{"name": "drill", "paths": ["/srv/drill"]}'
STATE = "/var/lib/dsdeploy/backup"
CANARY = (Path(__file__).parent / "canary.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def offsite(lab: Lab) -> Iterator[Lab]:
    """The lab's site with backups, their copy on gw2 by an sshd of its own; without all that again afterwards."""
    lab.serving()
    before = lab.site.read_text()
    key = lab.folder / "vault_key"
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vault", "-f", key], check=True)
    lab.tell("gw2", f"rm -rf /root/vault /srv/vault && mkdir -p /root/vault && printf '{SSHD}' > /root/vault/config"
             " && ssh-keygen -q -t ed25519 -N '' -f /root/vault/host"
             f" && echo '{key.with_suffix('.pub').read_text().strip()}' > /root/vault/authorized")  # fmt: skip
    ours = " ".join(lab.tell("gw2", "cat /root/vault/host.pub").split()[:2])
    (lab.folder / "vault_known_hosts").write_text(f"[{NETWORK}12]:2222 {ours}\n")
    password = lab.folder / "backup.password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    lab.site.write_text(before + SECTION)
    vault(lab, "start")
    lab.up("--only", "backup")
    lab.tell("gpu1", f"printf '{SET}' > /etc/dsdeploy/backup.d/drill.json && mkdir -p /srv/drill"
             " && head -c 60000000 /dev/urandom > /srv/drill/large && echo as it was > /srv/drill/small")  # fmt: skip
    lab.run("backup", "run", str(lab.site), "--limit", "gpu1")
    yield lab
    vault(lab, "stop")
    lab.tell("gw2", "rm -rf /root/vault /srv/vault")
    lab.tell("gpu1", "rm -rf /etc/dsdeploy/backup.d/drill.json /srv/drill* /root/drill-canary")
    leave(lab, before)


def vault(lab: Lab, verb: str) -> None:
    """The sshd that the offsite copy goes through: start or stop it."""
    starts = "systemd-run --quiet --unit drill-vault /usr/sbin/sshd -D -f /root/vault/config"
    lab.tell("gw2", starts if verb == "start" else "systemctl stop drill-vault", check=verb == "start")


def listed(lab: Lab, code: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(
        lab.run("backup", "list", str(lab.site), "--limit", "gpu1", "--json", code=code).stdout
    )
    return said


def newest(lab: Lab) -> dict[str, Any]:
    host = listed(lab)["hosts"]["gpu1"]
    found: dict[str, Any] = next(one for one in host["snapshots"] if one["id"] == host["newest"])
    return found


def test_a_backup_that_is_killed_half_way_leaves_the_newest_and_the_next_one_is_good(offsite: Lab) -> None:
    lab, before = offsite, newest(offsite)
    lab.tell("gpu1", "head -c 60000000 /dev/urandom > /srv/drill/large")
    lab.tell("gpu1", "systemctl start --no-block dsdeploy-backup && timeout 60 sh -c"
             " \"until pgrep -f '[r]estic .* backup --json' >/dev/null; do sleep 0.02; done\""
             " && systemctl kill -s KILL dsdeploy-backup")  # fmt: skip
    wait_for(lambda: lab.tell("gpu1", "systemctl is-active dsdeploy-backup", check=False).strip() == "failed", 30)
    assert newest(lab) == before
    lab.tell("gpu1", "systemctl start dsdeploy-backup")
    after = newest(lab)
    assert after["sequence"] > before["sequence"] and after["state"] == "good" and after["offsite"]
    assert lab.tell("gpu1", f"ls -d {STATE}/staging {STATE}/scratch 2>/dev/null", check=False) == ""


def test_an_offsite_that_is_away_is_told_and_caught_up(offsite: Lab) -> None:
    lab = offsite
    vault(lab, "stop")
    away = lab.run("backup", "run", str(lab.site), "--limit", "gpu1", code=1)
    assert "not offsite: " in away.stderr and "see that its server is up" in away.stderr
    assert re.search(r"gpu1: the newest good one, \d+, is not offsite yet", away.stdout)
    assert listed(lab, code=1)["problems"].keys() == {"gpu1"}
    host = lab.status()["hosts"]["gpu1"]
    assert host["kept"]["backup_ok"] and host["kept"]["offsite_missing"] == 1
    assert "backup: 1 good snapshots are not offsite" in host["warnings"]
    vault(lab, "start")
    lab.run("backup", "run", str(lab.site), "--limit", "gpu1")
    assert all(one["offsite"] for one in listed(lab)["hosts"]["gpu1"]["snapshots"])
    assert kept(lab)["gpu1"]["offsite_missing"] == 0


def member(lab: Lab) -> str:
    """gpu1's process of ZooKeeper, and since when."""
    return lab.tell("gpu1", "systemctl show -p MainPID,ActiveEnterTimestampMonotonic zookeeper")


def test_nothing_that_runs_is_restored_over_without_replace(offsite: Lab) -> None:
    lab, before = offsite, member(offsite)
    refused = lab.run("restore", str(lab.site), "--host", "gpu1", "--what", "zookeeper", "--yes", code=1)
    assert "zookeeper.service runs here; nothing was changed" in refused.stderr and "--replace" in refused.stderr
    assert member(lab) == before and lab.status()["quorum"]["serving"] == 3


def test_a_restore_that_is_killed_half_way_leaves_what_lives_as_it_was(offsite: Lab) -> None:
    lab = offsite
    live = "sha256sum /srv/drill/* && ls -A /srv /srv/drill"
    lab.tell("gpu1", "echo changed since > /srv/drill/small")
    before = lab.tell("gpu1", live)
    words = ("restore", str(lab.site), "--host", "gpu1", "--what", "drill", "--replace", "--yes")
    with command(lab, *words) as running:
        lab.tell("gpu1", "timeout 60 sh -c"
                 f" 'until [ \"$(du -sm {STATE}/scratch | cut -f1)\" -ge 10 ]; do sleep 0.02; done' 2>/dev/null"
                 " && pkill -KILL -f '[d]sdeploy_backup .*restore'")  # fmt: skip
        said = running.communicate(timeout=120)[0]
    assert running.returncode == 1 and "Traceback" not in said, said
    assert re.search(r"error: gpu1: .*killed", said), said
    assert lab.tell("gpu1", live) == before
    lab.run(*words)
    assert lab.tell("gpu1", "cat /srv/drill/small") == "as it was\n"
    assert lab.tell("gpu1", f"ls -d {STATE}/scratch 2>/dev/null", check=False) == ""


@dataclass
class Looking:
    """canary.py at work on a machine; `found` and `seen` are there once the block has ended."""

    process: subprocess.Popen[str]
    found: list[tuple[int, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    rounds: int = 0


def argv(lab: Lab, host: str, *words: str) -> list[str]:
    """canary.py on a host; on this computer for ""."""
    if not host:
        return [sys.executable, "-c", CANARY, *words]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in ("python3", "-c", CANARY, *words))
    return access.ssh_argv(load_site(lab.site), host, [quoted])


@contextmanager
def looking(lab: Lab, host: str, words: list[str]) -> Iterator[Looking]:
    """All command lines and environments of all processes are read while the block runs."""
    process = subprocess.Popen(argv(lab, host, "processes"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    process.stdin.write("\n".join([*words, "", ""]))
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    look = Looking(process)
    try:
        yield look
    finally:
        said = json.loads(process.communicate(timeout=60)[0])
        look.found, look.seen, look.rounds = [tuple(one) for one in said["found"]], said["seen"], said["rounds"]


def search(lab: Lab, host: str, words: list[str], *what: str) -> set[tuple[int, str]]:
    done = subprocess.run(argv(lab, host, *what), input="\n".join([*words, "", ""]), text=True, capture_output=True,
                          timeout=300, check=True)  # fmt: skip
    return {tuple(one) for one in json.loads(done.stdout)["found"]}


def test_no_secret_is_to_be_seen_where_it_does_not_belong(offsite: Lab) -> None:
    """Not while they are put in place and used, and not afterwards; on hosts, the offsite server and this computer."""
    lab, site = offsite, str(offsite.site)
    keys = key_file(load_site(lab.site), "gpu1").parent
    private = (lab.folder / "vault_key").read_text().splitlines()[4]
    words = [DECOY, PASSWORD, private, *((keys / name).read_text().strip() for name in HOSTS)]
    assert all(len(word) >= 30 for word in words)
    own = {host: 3 + number for number, host in enumerate(HOSTS)}

    on_all(lab, "rm -f /etc/dsdeploy/backup/password /etc/dsdeploy/backup/offsite")  # so that they come once more
    with looking(lab, "gpu1", words) as there, looking(lab, "", words) as here:
        # what a search must find: in a command line, an environment, a unit, the journal and a file
        lab.tell("gpu1", f"systemd-run --quiet --unit drill-decoy --setenv DECOY={DECOY} sh -c 'sleep 300; : {DECOY}'"
                 f" && logger {DECOY} && echo {DECOY} > /var/log/drill-decoy")  # fmt: skip
        said = [
            lab.up("--only", "backup"),
            lab.run("backup", "run", site),
            lab.run("restore", site, "--host", "gpu1", "--to", "/root/drill-canary"),
            lab.run("backup", "list", site, "--json"),
            lab.run("inventory", site),
        ]
    for look in (there, here):
        assert {(0, "cmdline of sh"), (0, "environ of sh")} <= set(look.found) and look.rounds > 50
        assert {one for one in look.found if one[0] != 0} == set()
    assert {"restic", "ssh", "python3"} <= set(there.seen) and {"ssh", "ansible-playboo"} <= set(here.seen)
    assert [word for one in said for word in words if word in one.stdout + one.stderr] == []

    assert "manifest.json" in lab.tell("gpu1", "ls /root/drill-canary")  # what is in a snapshot is searched in clear
    places = search(lab, "gpu1", words, "everywhere")
    decoys = {where for number, where in places if number == 0}
    assert {"/var/log/drill-decoy", "journal", "systemd: drill-decoy.service"} <= decoys
    secrets = {(own["gpu1"], "/etc/dsdeploy/backup/password"), (2, "/etc/dsdeploy/backup/offsite")}
    assert {one for one in places if one[0] != 0} == secrets
    modes = lab.tell("gpu1", "stat -c '%a %U' /etc/dsdeploy/backup /etc/dsdeploy/backup/password"
                     " /etc/dsdeploy/backup/offsite")  # fmt: skip
    assert modes.splitlines() == ["700 root", "600 root", "600 root"]
    assert search(lab, "gw2", words[1:], "everywhere") == {
        (own["gw2"] - 1, "/etc/dsdeploy/backup/password"), (1, "/etc/dsdeploy/backup/offsite"),
    }  # fmt: skip

    belong = {(1, lab.folder / "backup.password"), (2, lab.folder / "vault_key")}
    belong |= {(own[host], keys / host) for host in HOSTS}
    ansible = [str(path) for path in [Path.home() / ".ansible"] if path.exists()]
    kept_here = search(lab, "", words, "files", str(lab.folder), *ansible)
    assert kept_here == {(number, str(path)) for number, path in belong}
    assert {path.stat().st_mode & 0o777 for _, path in belong} == {0o600}
    lab.tell("gpu1", "systemctl stop drill-decoy; rm -rf /var/log/drill-decoy /root/drill-canary")
