"""Builders that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsdeploy.site import Site, load

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def lab_site() -> Site:
    """The lab's site file, as shipped."""
    return load(ROOT / "inventory" / "lab" / "site.yml")
