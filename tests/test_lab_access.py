"""Keys and known hosts; what is taken away again and what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dsdeploy.errors import LabError
from dsdeploy.lab import access, lifecycle, record
from dsdeploy.lab.record import Record
from dsdeploy.site import Site, load

KEYGEN = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
OTHERS = "server.example ssh-rsa AAAA\n10.90.0.110 ssh-ed25519 BBBB\n"


def test_known_hosts_keeps_everybody_elses_lines() -> None:
    once = access.merged(OTHERS, {"10.90.0.11": "ssh-ed25519 CCCC"})
    assert once == OTHERS + "10.90.0.11 ssh-ed25519 CCCC\n"
    again = access.merged(once, {"10.90.0.11": "ssh-ed25519 DDDD"})
    assert again == OTHERS + "10.90.0.11 ssh-ed25519 DDDD\n"
    assert access.without(again, ["10.90.0.11"]) == OTHERS


def test_known_hosts_is_private_and_written_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    assert access.write(path, "a b c\n")
    assert not access.write(path, "a b c\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["known_hosts"]


@KEYGEN
def test_an_identity_is_made_private_and_can_be_read(tmp_path: Path) -> None:
    identity = tmp_path / "keys" / "id_ed25519"
    access.make_identity(identity, "test")
    assert identity.stat().st_mode & 0o777 == 0o600
    assert access.public_key(identity) == " ".join(identity.with_name("id_ed25519.pub").read_text().split()[:2])


@KEYGEN
def test_an_identity_that_is_none_is_refused(tmp_path: Path) -> None:
    identity = tmp_path / "id"
    identity.write_text("not a key\n")
    identity.chmod(0o600)
    with pytest.raises(LabError) as caught:
        access.public_key(identity)
    assert caught.value.where == str(identity)


def test_ssh_checks_the_host_key(lab_site: Site) -> None:
    argv = access.ssh_argv(lab_site, "gpu1", ["uptime", "-p"])
    assert argv[-3:] == ["root@10.90.0.21", "uptime", "-p"]
    assert "StrictHostKeyChecking=yes" in argv and f"UserKnownHostsFile={lab_site.ssh.known_hosts}" in argv
    with pytest.raises(LabError, match="no host gpu7"):
        access.ssh_argv(lab_site, "gpu7", [])


@pytest.fixture
def site(lab_site: Site, tmp_path: Path) -> Site:
    copy = tmp_path / "site.yml"
    copy.write_text(lab_site.file.read_text())
    return load(copy)


def test_down_removes_what_the_lab_made_and_nothing_else(site: Site) -> None:
    identity, known = site.ssh.identity, site.ssh.known_hosts
    assert identity is not None and known is not None
    work = site.file.parent / ".dsdeploy" / "lab"
    (work / "mirror" / "weights").mkdir(parents=True)
    identity.write_text("made")
    known.write_text(access.merged("", {"10.90.0.11": "ssh-ed25519 CCCC"}))
    notes = Record(made=[str(identity), str(known)])
    record.save(work, notes)
    lifecycle._forget(site, work, notes)
    assert [path.name for path in site.file.parent.iterdir()] == ["site.yml"]


def test_down_keeps_what_was_there_before(site: Site) -> None:
    identity, known = site.ssh.identity, site.ssh.known_hosts
    assert identity is not None and known is not None
    runs = site.file.parent / ".dsdeploy" / "lab" / "runs"
    runs.mkdir(parents=True)
    identity.write_text("the operator's")
    known.write_text(access.merged(OTHERS, {"10.90.0.11": "ssh-ed25519 CCCC"}))
    lifecycle._forget(site, runs.parent, Record())
    assert identity.read_text() == "the operator's" and known.read_text() == OTHERS and runs.is_dir()


def test_a_record_survives_and_a_damaged_one_means_that_nothing_is_ours(tmp_path: Path) -> None:
    notes = Record("docker", ["/x/id"], "token", {"id": "key"})
    record.save(tmp_path, notes)
    assert record.load(tmp_path) == notes
    for damage in ("", "[]", '{"made": []', '{"colour": "blue"}'):
        (tmp_path / record.FILE).write_text(damage)
        assert record.load(tmp_path) == Record()
