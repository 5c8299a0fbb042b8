"""What status says of backups and logs, and only where the site file asks for them."""

from __future__ import annotations

import pytest

from dsdeploy.backup import ages
from dsdeploy.facts import Kept
from dsdeploy.facts.kept import KeptFact
from dsdeploy.site import Site

BASE = {
    "site": "t",
    "stack": "cpu",
    "hosts": {"gpu1": {"address": "10.1.0.2", "roles": ["engine"]}},
    "model": {"name": "m", "version": "v1", "source": "/mnt/weights"},
}
BARE = Site.model_validate(BASE)
BOTH = Site.model_validate({**BASE, "backup": {"password_file": "backup.password"}, "logs": {}})
WELL = Kept(backup=3 * 3600, backup_ok=True, read=90000, read_ok=True, logs=59, logs_ok=True)


def test_a_site_that_keeps_nothing_has_no_column_and_is_not_asked() -> None:
    assert ages.columns(BARE) == () == ages.cells(BARE, WELL)
    assert list(ages.warnings(BARE, WELL)) == []
    assert KeptFact().arguments(BARE, "gpu1") is None and KeptFact().arguments(BOTH, "gpu1") == {}


def test_ages_stand_below_their_heads() -> None:
    assert dict(zip(ages.columns(BOTH), ages.cells(BOTH, WELL), strict=True)) == {
        "BACKUP": "3h", "VERIFIED": "1d", "LOGS": "59s",
    }  # fmt: skip
    assert ages.cells(BOTH, Kept()) == ("never", "never", "never")
    assert ages.cells(BOTH, None) == ("-", "-", "-")
    assert list(ages.warnings(BOTH, WELL)) == []


def test_the_youngest_look_counts_and_a_bad_one_is_not_hidden_by_it() -> None:
    looks = Kept(backup=1, read=500000, read_ok=True, checked=7200, checked_ok=True, rehearsed=90000)
    assert ages.cells(BOTH, looks)[1] == "2h"
    assert ages.cells(BOTH, Kept(read=10, read_ok=True, rehearsed=90000, rehearsed_ok=False))[1] == "bad"


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (Kept(), "no good one yet"),
        (Kept(backup=1, backup_ok=False), "the last run failed"),
        (Kept(backup=1, offsite_missing=2), "2 good snapshots are not offsite"),
        (Kept(backup=1, checked_ok=False), "found a bad snapshot"),
        (Kept(backup=1, part_ok=False), "a part of the repository was not whole"),
        (Kept(backup=1, offsite_part_ok=False), "the offsite copy was not whole"),
        (Kept(backup=1, rehearsed_ok=False), "rehearsal of a restore failed"),
        (Kept(backup=1, read_ok=False, bad_files=3), "3 files of weights and builds"),
        (Kept(backup=1, logs_ok=False), "the last rotation failed"),
    ],
)
def test_what_went_wrong_is_said(kept: Kept, words: str) -> None:
    (said,) = ages.warnings(BOTH, kept)
    assert words in said
