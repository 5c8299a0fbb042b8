"""Addresses booked for containers that are gone."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

import pytest

from dsdeploy.lab.leases import forget_stale
from dsdeploy.lab.podman import Podman, failure


@dataclass(frozen=True)
class Told(Podman):
    """A container program that runs these containers."""

    running: tuple[str, ...] = ()

    def words(self, *args: str) -> list[str]:
        assert args == ("ps", "-q")
        return list(self.running)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "ipam.db"
    path.write_bytes(b"bookings")
    return path


def told(name: str = "podman", running: tuple[str, ...] = ()) -> Told:
    return Told(name, None, (), cgroup2=True, running=running)


def test_with_no_container_running_every_booking_is_stale(book: Path) -> None:
    assert forget_stale(told(), book)
    assert not book.exists()
    assert not forget_stale(told(), book)


def test_bookings_of_running_containers_stay(book: Path) -> None:
    assert not forget_stale(told(running=("4f",)), book)
    assert book.read_bytes() == b"bookings"


def test_a_book_that_podman_has_open_is_left_alone(book: Path) -> None:
    with book.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not forget_stale(told(), book)
    assert book.exists()


def test_dockers_bookings_are_its_own(book: Path) -> None:
    assert not forget_stale(told("docker"), book)
    assert book.exists()


def test_an_address_booked_for_a_container_that_is_gone_says_what_frees_it() -> None:
    line = "Error: IPAM error: requested ip address 10.90.1.11 is already allocated to container ID 946d"
    assert "with no container running" in failure("podman", ("run",), line).hint
