"""What the roles get of the sections `backup` and `logs`."""

from __future__ import annotations

import pytest

from dsdeploy.backup import variables
from dsdeploy.site import Site

BASE = {
    "site": "t",
    "stack": "cpu",
    "hosts": {"gpu1": {"address": "10.1.0.2", "roles": ["engine"]}},
    "model": {"name": "m", "version": "v1", "source": "/mnt/weights"},
}


@pytest.mark.parametrize(
    ("logs", "size"),
    [({}, 50 * 2**20), ({"total": "64MiB"}, 16 * 2**20), ({"file_size": "1MiB", "total": "64MiB"}, 2**20)],
)
def test_no_log_is_rotated_so_late_that_its_copy_alone_would_push_out_all_that_is_old(
    logs: dict[str, str], size: int
) -> None:
    assert variables.every(Site.model_validate({**BASE, "logs": logs}))["logrotate_file_bytes"] == size


def test_a_site_without_the_sections_gives_the_roles_nothing() -> None:
    assert variables.every(Site.model_validate(BASE)) == {}
