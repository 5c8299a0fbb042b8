"""Index, manifest and shards must tell the same story."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from checkpoint import md5sums, shard
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.layout import Layout
from hostile_server import HostileServer

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Change = Callable[[dict[str, bytes], dict[str, Any]], None]


def unlisted_shard(files: dict[str, bytes], index: dict[str, Any]) -> None:
    del files[TWO]


def orphan_shard(files: dict[str, bytes], index: dict[str, Any]) -> None:
    files["model-00003-of-00002.safetensors"] = shard({"more": 1})


def tensor_in_another_shard(files: dict[str, bytes], index: dict[str, Any]) -> None:
    index["weight_map"]["norm"] = TWO


def tensor_nowhere(files: dict[str, bytes], index: dict[str, Any]) -> None:
    index["weight_map"]["ghost"] = ONE


def tensor_not_in_index(files: dict[str, bytes], index: dict[str, Any]) -> None:
    del index["weight_map"]["norm"]


def wrong_total(files: dict[str, bytes], index: dict[str, Any]) -> None:
    index["metadata"]["total_size"] += 1


def no_map(files: dict[str, bytes], index: dict[str, Any]) -> None:
    index.clear()


def map_outside(files: dict[str, bytes], index: dict[str, Any]) -> None:
    index["weight_map"]["head"] = "../" + TWO


CHANGES: list[Change] = [
    unlisted_shard, orphan_shard, tensor_in_another_shard, tensor_nowhere, tensor_not_in_index, wrong_total,
    no_map, map_outside,
]  # fmt: skip
BEFORE_ANY_SHARD = (unlisted_shard, orphan_shard, no_map, map_outside)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
def test_disagreement_is_refused(
    change: Change, pull: Callable[[], Any], server: HostileServer, layout: Layout
) -> None:
    index = json.loads(server.files[INDEX])
    change(server.files, index)
    server.files[INDEX] = json.dumps(index).encode()
    server.files["MD5SUMS"] = md5sums(server.files)
    with pytest.raises(Refused, match="index and the shards disagree") as error:
        pull()
    assert {problem.kind for problem in error.value.problems} == {"index"}
    assert not layout.live.exists() and not layout.stamp.exists()
    if change in BEFORE_ANY_SHARD:
        assert server.gets(ONE) == []
