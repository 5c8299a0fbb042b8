"""The pull program under test, a small checkpoint to publish, and a web server that can misbehave."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[2] / "roles" / "weights" / "files"
for folder in (HERE, PROGRAM):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from checkpoint import checkpoint, md5sums  # noqa: E402
from dsdeploy_weights.layout import Layout  # noqa: E402
from dsdeploy_weights.limits import Limits  # noqa: E402
from dsdeploy_weights.pull import Pull  # noqa: E402
from dsdeploy_weights.web import HttpSource  # noqa: E402
from hostile_server import HostileServer  # noqa: E402

LIMITS = Limits(threads=2, tries=3, bad_tries=3, timeout_s=0.4, backoff_s=0.0, backoff_max_s=0.0)


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def files() -> dict[str, bytes]:
    """What a mirror publishes: shards, index, config, and MD5SUMS over them."""
    published = checkpoint()
    published["MD5SUMS"] = md5sums(published)
    return published


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[HostileServer]:
    with HostileServer(files) as running:
        yield running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("tiny", "v1", tmp_path / "weights", tmp_path / "state")


@pytest.fixture
def pull(server: HostileServer, layout: Layout) -> Callable[..., dict[str, Any]]:
    """Pull from the server; keyword arguments go to Pull."""

    def run(**more: Any) -> dict[str, Any]:
        return Pull(layout, HttpSource(server.url, LIMITS.timeout_s), LIMITS, **more).run()

    return run
