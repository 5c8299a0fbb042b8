"""Models asked for in vain: a real HAProxy counts them, and the fact reads what its socket says of any name."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from typing import Any

import pytest

from dsdeploy import facts

NAMES = {
    "gpt-4": "gpt-4",
    "deepseek-tin": "deepseek-tin",
    "two words, and\nuse=0 exp=1 gpc0=9": r"two\ words,\ and\nuse\=0\ exp\=1\ gpc0\=9",
    "x" * 200: "x" * 64,
}


def refused(router: Any, model: str) -> None:
    link = http.client.HTTPConnection("127.0.0.1", router.port, timeout=60)
    link.request("POST", "/v1/completions", json.dumps({"model": model, "prompt": "x"}), {"authorization": model[:9]})
    assert link.getresponse().status == 404
    link.close()


@pytest.mark.parametrize("tool", ["socat", "perl", "python3"])
def test_names_that_were_asked_for_in_vain_are_counted(router: Any, tool: str, tmp_path: Any) -> None:
    """`tool` is the only one there to ask the socket with."""
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    for name in ("sh", "timeout", tool):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    for _ in range(2):
        for model in NAMES:
            refused(router, model)
    fact = facts.reader(facts.UnknownModels)
    argv = ["sh", "-c", fact.command(at=str(router.paths.socket))]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True, timeout=60)
    found = fact.process(done.stdout.splitlines())
    assert set(found) == set(NAMES.values())
    assert {count % 2 for count in found.values()} == {0} and max(found.values()) <= 6
