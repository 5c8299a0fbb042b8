"""Weights that are not what their manifest promises, at the mirror and on a host."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from .conftest import MODEL, PROMPT, Lab

pytestmark = pytest.mark.lab

SHARD = "model-00002-of-000003.safetensors"


@pytest.fixture(scope="module")
def serving(lab: Lab) -> str:
    """The release that serves before anything is damaged."""
    return lab.serving()


def flip(path: Path) -> tuple[str, str]:
    """Change one byte in the middle; the MD5 before and after."""
    content = bytearray(path.read_bytes())
    before = hashlib.md5(content).hexdigest()
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return before, hashlib.md5(content).hexdigest()


def test_a_bad_byte_at_the_mirror_is_refused_and_what_serves_goes_on(lab: Lab, serving: str) -> None:
    shard = next(lab.mirror.rglob(f"v2/{SHARD}"))
    good = shard.read_bytes()
    wanted, got = flip(shard)
    before = lab.site.read_text()
    try:
        lab.edit("version: v1", "version: v2")
        lab.edit("/v1/", "/v2/")
        refused = lab.up(code=1)
        for word in (SHARD, "gpu1", "gpu2", wanted, got):
            assert word in refused.stderr
        assert lab.ask(body=PROMPT)[1]["x-dsdeploy-release"] == serving
    finally:
        lab.site.write_text(before)
        shard.write_bytes(good)
    assert lab.status()["release"] == serving


def test_a_bad_byte_on_a_host_is_found_and_that_shard_alone_repaired(lab: Lab, serving: str) -> None:
    folder = f"/srv/dsdeploy/weights/{MODEL}/v1"
    inodes = f"cd {folder} && stat -c '%n %i' *"
    before = dict(line.split() for line in lab.ssh("gpu1", inodes).splitlines())
    lab.ssh("gpu1", f"printf 'X' | dd of={folder}/{SHARD} bs=1 seek=200000 conv=notrunc status=none")
    found = json.loads(lab.run("verify", str(lab.site), "--json", code=1).stdout)
    assert SHARD in json.dumps(found)
    lab.up()
    after = dict(line.split() for line in lab.ssh("gpu1", inodes).splitlines())
    assert {name for name in before if before[name] != after[name]} == {SHARD}
    lab.run("verify", str(lab.site), "--deep")
    assert lab.status()["release"] == serving


def test_a_new_version_replaces_the_old_and_the_way_back_is_kept(lab: Lab, serving: str) -> None:
    colour = lab.status()["hosts"]["gpu1"]["colour"]
    before = lab.site.read_text()
    version = lab.want_another(serving)
    lab.up()
    new = lab.status()
    assert new["release"].startswith(f"{version}-")
    other = {"blue": "green", "green": "blue"}[colour]
    assert {new["hosts"][host]["colour"] for host in ("gpu1", "gpu2")} == {other}
    assert lab.ssh("gpu1", f"ls /srv/dsdeploy/releases/{serving}/manifest.json")
    lab.site.write_text(before)
    lab.up()
    assert lab.status()["release"] == serving
