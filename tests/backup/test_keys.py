"""Each host's own password, and what the roles are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dsdeploy import inventory, site
from dsdeploy.backup import keys, variables
from dsdeploy.decisions import Order
from dsdeploy.errors import PreflightError, SiteError

ROOT = Path(__file__).resolve().parents[2]
SECRET = "canary-7c1f-the-password-of-the-site"


@pytest.fixture
def loaded(tmp_path: Path) -> site.Site:
    return load(tmp_path, {"password_file": "pw", "offsite": "sftp://b@vault/srv", "offsite_known_hosts": "known"})


def load(folder: Path, backup: dict[str, object] | None) -> site.Site:
    data = yaml.safe_load((ROOT / "inventory/lab/site.yml").read_text())
    if backup is not None:
        data["backup"] = backup
        data["logs"] = {"total": "200MiB"}
    (folder / "site.yml").write_text(yaml.safe_dump(data))
    (folder / "pw").write_text(SECRET + "\n")
    (folder / "pw").chmod(0o600)
    (folder / "known").write_text("vault ssh-ed25519 AAAA\n")
    return site.load(folder / "site.yml")


def test_each_host_gets_another_one_and_none_is_the_sites(loaded: site.Site) -> None:
    keys.write(loaded)
    files = [variables.key_file(loaded, name) for name in loaded.hosts]
    texts = {file.read_text() for file in files}
    assert len(texts) == len(loaded.hosts) and all(len(text) == 64 for text in texts)
    assert not any(SECRET in text for text in texts)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_the_derivation_never_changes() -> None:
    """Snapshots of years ago are opened with it."""
    found = keys.derived(b"x" * 20, "lab", "gpu1")
    assert found == "ec82d6c9ba3641eaf49144516b5732c0f48da2a9acd2f2c160ce6a04290f524b"
    assert found != keys.derived(b"x" * 20, "lab", "gpu2")


def test_a_password_that_is_missing_short_or_public_is_refused_with_a_cure(loaded: site.Site) -> None:
    file = loaded.file.parent / "pw"
    file.chmod(0o644)
    assert "chmod 600" in keys.problems(loaded)[0].hint
    file.chmod(0o600)
    file.write_text("short\n")
    assert "fewer than 20" in keys.problems(loaded)[0].what
    file.unlink()
    with pytest.raises(PreflightError, match="is not there"):
        keys.write(loaded)
    assert not variables.key_file(loaded, "gpu1").exists()


def test_an_sftp_server_needs_its_host_keys(loaded: site.Site) -> None:
    (loaded.file.parent / "known").unlink()
    assert "host keys" in keys.problems(loaded)[0].what


def test_the_inventory_has_paths_and_never_the_password(loaded: site.Site) -> None:
    keys.write(loaded)
    text = inventory.render(loaded, order=Order(words=("restore", "--what", "{{ x }}")))
    assert SECRET not in text and keys.derived(SECRET.encode(), "lab", "gpu1") not in text
    assert "backup_password_file" in text and "logrotate_total_bytes: 209715200" in text
    assert '!unsafe "{{ x }}"' in text


def test_a_site_without_the_sections_gets_no_variable(tmp_path: Path) -> None:
    text = inventory.render(load(tmp_path, None))
    assert "backup" not in text and "logrotate" not in text


@pytest.mark.parametrize(
    "offsite",
    ["sftp://-oProxyCommand=x@h/p", "sftp://h/../x", "ftp://h/p", "s3:https://h/b;x", "sftp://u:pw@h/p", "relative"],
)
def test_an_offsite_address_that_could_be_more_than_one_is_refused(tmp_path: Path, offsite: str) -> None:
    with pytest.raises(SiteError):
        load(tmp_path, {"password_file": "pw", "offsite": offsite})
