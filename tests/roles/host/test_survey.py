"""What a role decides by: the system's family, small files, and units in the order in which they were asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "host" / "library" / "survey.py"
UNITS = ["chrony.service", "ntp.service", "systemd-timesyncd.service"]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("survey", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


survey = load()


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "redhat"),
        ('ID="rhel"\n', "redhat"),
        ("ID=arch\n", "other"),
        ("", "other"),
    ],
)
def test_family(release: str, family: str) -> None:
    assert survey.system(release)["family"] == family


def test_name_and_version_are_as_the_system_spells_them() -> None:
    found = survey.system('PRETTY_NAME="x"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n')
    assert found == {"id": "debian", "name": "Debian GNU/Linux", "version": "12", "family": "debian"}
    assert survey.system("")["name"] == "this system"


def test_units_come_in_the_order_asked_with_their_state_and_not_their_preset() -> None:
    listing = "systemd-timesyncd.service disabled enabled\nchrony.service            masked   enabled\n"
    found = survey.states(listing, UNITS)
    assert list(found.items()) == [("chrony.service", "masked"), ("systemd-timesyncd.service", "disabled")]
    assert survey.states("", UNITS) == {}


def test_a_small_file_is_read_without_space_around_it_and_an_absent_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("lab\n")
    assert survey.content(str(tmp_path / "site")) == "lab"
    assert survey.content(str(tmp_path / "absent")) == ""
    with pytest.raises(IsADirectoryError):
        survey.content(str(tmp_path))


class Module:
    """Ansible's part of running a program."""

    def __init__(self, there: bool) -> None:
        self.there = there

    def get_bin_path(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if self.there else None

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        return 0, " ".join(command), ""


def test_a_system_without_the_program_has_nothing_to_say() -> None:
    assert survey.answer(Module(there=True), "systemctl", "list") == "/usr/bin/systemctl list"
    assert survey.answer(Module(there=False), "systemctl", "list") == ""
