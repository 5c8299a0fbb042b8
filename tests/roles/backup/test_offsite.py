"""The copy elsewhere, with real servers on the loopback address: SFTP, append-only over SSH, S3."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_machine import Machine

pytestmark = pytest.mark.slow
MOTO = shutil.which("moto_server")


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(argv: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert child.poll() is None, f"{argv[0]} ended"
                time.sleep(0.1)
            yield
        finally:
            child.kill()


@contextlib.contextmanager
def sshd(machine: Machine, command: str) -> Iterator[int]:
    """A real sshd of the test's own; `command` is what our key may run there."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin") or pytest.skip(
        "no sshd here (Debian package openssh-server)"
    )
    home, port = machine.root / "ssh", free()
    home.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    limit = f'restrict,command="{command}" ' if command else "restrict "
    (home / "authorized").write_text(limit + (home / "client.pub").read_text())
    (home / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n"
        f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n"
    )
    shutil.copy(home / "client", machine.root / "secrets" / "offsite")
    key = " ".join((home / "host.pub").read_text().split()[:2])
    (machine.root / "secrets" / "offsite_known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    with serving([program, "-D", "-f", str(home / "config")], port):
        yield port


def address(machine: Machine, port: int) -> str:
    return f"sftp://{getpass.getuser()}@127.0.0.1:{port}{machine.offsite}"


def test_sftp_unreachable_first_then_caught_up(machine: Machine) -> None:
    with sshd(machine, "") as port:
        machine.settings(offsite=address(machine, port), keep=1, keep_full=1)
        machine.good("run")
    code, found, said = machine.call("run")
    assert code == 6 and found["offsite"] is False and "not offsite" in said
    seen = machine.metrics()
    assert (seen["last_run_success"], seen["offsite_success"], seen["offsite_missing"]) == (1, 0, 1)
    states = {one["sequence"]: one for one in machine.good("list")["snapshots"]}
    assert states[2]["state"] == "good" and not states[2]["offsite"]
    shutil.rmtree(machine.root / "ssh")
    with sshd(machine, "") as port:
        machine.settings(offsite=address(machine, port))
        assert machine.good("run")["offsite"] is True
        assert machine.good("rehearse")["ok"]
        assert machine.metrics()["last_rehearsal_success"] == 1
    assert all(one["offsite"] for one in machine.good("list")["snapshots"])


def test_a_server_that_we_do_not_know_gets_nothing(machine: Machine) -> None:
    with sshd(machine, "") as port:
        machine.settings(offsite=address(machine, port))
        (machine.root / "secrets" / "offsite_known_hosts").write_text("")
        code, _, said = machine.call("run")
    assert code == 6 and "not offsite" in said
    assert not machine.offsite.exists()


def test_append_only_lets_us_add_and_never_remove(machine: Machine) -> None:
    rclone = shutil.which("rclone") or pytest.skip("no rclone here (Debian package rclone)")
    machine.offsite.mkdir()
    with sshd(machine, f"{rclone} serve restic --stdio --append-only {machine.offsite}") as port:
        machine.settings(offsite=address(machine, port), append_only=True, keep=1, keep_full=1, full_every=1)
        for _ in range(3):
            machine.good("run")
        there = len(list((machine.offsite / "snapshots").iterdir()))
        assert there == 3 and len(machine.good("list")["snapshots"]) == 1
        machine.settings(append_only=True)
        assert machine.good("rehearse")["ok"]


@pytest.mark.skipif(not MOTO, reason="no S3 server here (moto[server])")
def test_s3_with_the_keys_in_a_file_only(machine: Machine) -> None:
    port = free()
    (machine.root / "secrets" / "offsite").write_text(
        "[default]\naws_access_key_id = canary-id\naws_secret_access_key = x\n"
    )
    with serving([str(MOTO), "-H", "127.0.0.1", "-p", str(port)], port):
        machine.settings(offsite=f"s3:http://127.0.0.1:{port}/lab")
        assert machine.good("run")["offsite"] is True
        shutil.rmtree(machine.repository)
        assert machine.good("restore", "--to", str(machine.root / "drill"), "--from", "offsite")["sequence"] == 1


def test_an_offsite_disk_that_is_full_costs_nothing_here(machine: Machine) -> None:
    machine.offsite.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(machine.offsite)], check=False
    ).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        machine.settings(offsite=str(machine.offsite))
        code, found, said = machine.call("run")
        assert code == 6 and found["ok"] is False and "no space" in said.lower()
        assert machine.good("list")["newest"] == found["snapshot"]
    finally:
        subprocess.run(["umount", str(machine.offsite)], check=True)


def test_one_that_never_answers_is_given_up_in_time(machine: Machine) -> None:
    machine.good("run")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        machine.settings(offsite=f"s3:http://127.0.0.1:{silent.getsockname()[1]}/lab", limit=15)
        (machine.root / "secrets" / "offsite").write_text(
            "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
        )
        code, _, said = machine.call("run")
    assert code == 6 and "took longer" in said
