"""Builders that several tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dsdeploy.site import Site, load

ROOT = Path(__file__).resolve().parent.parent

# programs beside our Python (moto_server, promtool, amtool) are found however pytest was started
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


@pytest.fixture(scope="session")
def lab_site() -> Site:
    """The lab's site file, as shipped."""
    return load(ROOT / "inventory" / "lab" / "site.yml")
