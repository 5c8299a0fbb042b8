"""Hostile text in every leaf of a site file: refused, or nothing Ansible would ever evaluate."""

from __future__ import annotations

import copy
import json
import runpy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsdeploy import inventory, site
from dsdeploy.errors import SiteError
from dsdeploy.inert import inert

CANARY = runpy.run_path(str(Path(__file__).parent / "corpus" / "cases.py"))["CANARY"]

FULL: dict[str, Any] = {
    "site": "lab",
    "ssh": {"user": "root", "port": 22, "identity": "id", "known_hosts": "known", "connect_timeout": "10s"},
    "stack": "cuda13",
    "hosts": {
        "a": {"address": "10.0.0.1", "roles": ["router", "zookeeper"], "zookeeper_id": 3},
        "b": {"address": "10.0.0.2", "roles": ["engine", "monitor"]},
    },
    "host": {
        "transparent_hugepages": "never", "hugepages_2mb": 1, "swappiness": 1, "nofile": 4096,
        "time_sync": True, "require_kernel_settings": False,
    },
    "packages": {"managed": True, "mirror": "http://10.0.0.3/packages/"},
    "model": {"name": "m", "version": "v", "source": "http://10.0.0.3/m/"},
    "engine": {
        "runtime": "vllm", "precision": "fp16", "memory_fraction": 0.5, "devices": [0, 1],
        "tensor_parallel": 2, "context_tokens": 100, "start_timeout": "1m", "wheelhouse": "wheels",
        "pipeline_parallel": 1, "nodes": 1, "workspace": "1GiB", "trust_remote_code": False,
        "image": "registry.example.net/vllm@sha256:" + "0" * 64, "inner_ports": {"blue": 8201, "green": 8202},
        "batching": {"max_batch_size": 8, "preferred_batch_size": [4], "timeout_micros": 1},
        "ports": {"blue": 8101, "green": 8102},
    },
    "zookeeper": {
        "source": "tarball", "tarball_url": "http://10.0.0.3/z.tgz", "tarball_sha512": "a" * 128,
        "client_port": 2181, "peer_port": 2888, "election_port": 3888, "heap": "64MiB",
    },
    "router": {
        "port": 8000, "vip": "10.0.0.9", "rate_limit": {"requests_per_second": 1, "burst": 1},
        "max_body": "1MiB", "failover": "1s",
    },
    "rollout": {"strategy": "auto", "canary": 1, "soak": "1s", "drain": "1s", "release": "v-hotfix"},
    "fabric": {
        "link": "roce", "rate": 400, "ports": 8, "devices": ["mlx5_0"], "exclude": ["mlx5_1"], "interface": "eth0",
        "ofed": {"repository": "http://10.0.0.3/doca/", "key": "http://10.0.0.3/doca/KEY", "fingerprint": "AB" * 20},
        "peer_memory": True, "write_gbits": 360, "all_reduce_gbytes": 400,
    },
    "health": {
        "enabled": True, "interval": "30s", "deadline": "20s", "strikes": 2, "window": "1h", "stall": "2m",
        "min_serving": 1, "gpus": 8,
    },
    "backup": {
        "password_file": "pw", "path": "/var/b", "offsite": "sftp://b@c.example/d", "offsite_secret": "key",
        "offsite_known_hosts": "known", "append_only": True, "keep": 3, "keep_full": 2, "full_every": 4,
        "when": "daily", "jitter": "1m", "rehearse": "monthly", "verify": "daily",
    },
    "firewall": {"allow": ["10.0.0.0/8"]},
    "logs": {"when": "hourly", "file_size": "1MiB", "keep": 3, "total": "9MiB", "journal": "64MiB"},
    "monitor": {
        "scrape_interval": "5s", "retention_days": 3, "listen": True, "prometheus_port": 9091,
        "alertmanager_port": 9094, "exporter_port": 9101, "router_port": 8406, "dcgm_port": 9401,
        "password_file": "password", "webhook": "http://10.0.0.3/alerts", "grafana": True,
        "thresholds": {
            "down": "1s", "hung": "1s", "latency": "1s", "latency_for": "1s", "queue": 1, "cache": 0.5,
            "gpu_idle": 0.5, "gpu_idle_for": "1s", "engines_floor": 1, "availability": 0.9, "burn_fast": "1s",
            "burn_slow": "2s", "recent": "1s", "disk": 0.5, "disk_critical": 0.1, "certificate": "1d",
            "backup": "1d", "verified": "1d", "stuck": "1d",
        },
    },
}  # fmt: skip

HOSTILE = (
    f"{{{{ lookup('pipe','touch {CANARY}') }}}}",
    "{% for x in y %}",
    "{# comment #}",
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"x; touch {CANARY}",
    f"-oProxyCommand=touch${{IFS}}{CANARY}",
    "--help",
    "a\nUser=root",
    "a\r\nX: y",
    "../../etc/passwd",
    "..",
    "/..",
    "a\0b",
    "%n%s${HOME}",
    "a\u202eb",
    "\u200b",
    "\U0001f600",
    "|touch",
    "'\"\\",
    " ",
    "~root",
    "\x1b[2J",
    "!unsafe\tx",
    "*",
    "&a",
    "@x",
    "a" * 3000,
)

Address = tuple[str | int, ...]


def leaves(node: Any, address: Address = ()) -> Iterator[Address]:
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*address, key))
    else:
        yield address


def with_leaf(address: Address, value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(FULL)
    node: Any = whole
    for step in address[:-1]:
        node = node[step]
    node[address[-1]] = value
    return whole


class Plain(yaml.SafeLoader):
    """Reads the inventory as Ansible would; text under !unsafe is data and is left out of the question."""


Plain.add_constructor("!unsafe", lambda loader, node: None)


def templated(node: Any) -> list[str]:
    """Strings, keys included, that Ansible would look into."""
    if isinstance(node, dict):
        return [text for pair in node.items() for part in pair for text in templated(part)]
    if isinstance(node, list):
        return [text for part in node for text in templated(part)]
    return [node] if isinstance(node, str) and "{" in node else []


def load(folder: Path, data: dict[str, Any]) -> site.Site | None:
    """The site, or None when it was refused; anything but SiteError is a fault of ours."""
    path = folder / "site.yml"
    path.write_text(inert(data).replace("!unsafe ", ""), encoding="utf-8")
    try:
        return site.load(path)
    except SiteError as error:
        assert error.problems and all(p.what and p.where.startswith(str(path)) for p in error.problems)
        return None


def test_the_base_of_these_tests_is_good_and_complete(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) is not None
    assert set(FULL) == set(site.Site.model_fields)
    for section in ("ssh", "host", "model", "engine", "zookeeper", "router", "rollout"):
        assert set(FULL[section]) == set(site.Site.model_fields[section].annotation.model_fields)  # type: ignore[union-attr]


@pytest.mark.parametrize("address", list(leaves(FULL)), ids=lambda address: ".".join(map(str, address)))
def test_hostile_text_in_any_leaf_is_refused(address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in HOSTILE:
        assert load(tmp_path, with_leaf(address, text)) is None, text
    assert [path.name for path in tmp_path.iterdir()] == ["site.yml"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_hostile_text_as_a_key_is_refused(text: str, tmp_path: Path) -> None:
    host = {"address": "10.0.0.3", "roles": ["monitor"]}
    assert load(tmp_path, FULL | {"hosts": FULL["hosts"] | {text: host}}) is None
    assert load(tmp_path, FULL | {text: 1}) is None
    assert load(tmp_path, FULL | {"router": {text: 1}}) is None


anything = st.one_of(
    st.text(max_size=40),
    st.sampled_from(HOSTILE).flatmap(lambda text: st.just(text) | st.text(max_size=3).map(lambda more: more + text)),
    st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(address=st.sampled_from(list(leaves(FULL))), value=anything)
def test_no_value_anywhere_is_ever_templated(address: Address, value: Any) -> None:
    data = with_leaf(address, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yml"
        # JSON is YAML but for surrogate pairs; what YAML refuses of it is refused as a site file too
        path.write_bytes(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        try:
            loaded = site.load(path)
        except SiteError:
            return
        rendered = inventory.render(loaded)
        assert templated(yaml.load(rendered, Loader=Plain)) == []
        assert rendered.isascii()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_are_a_site_or_a_site_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yml"
        path.write_bytes(content)
        with pytest.raises(SiteError):
            site.load(path)


punctuation = st.text(alphabet="abc:- \n\t'\"[]{},&*!|>%@`#?0.\\", max_size=60)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=punctuation)
def test_any_yaml_like_text_is_a_site_error(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yml"
        path.write_text(content)
        with pytest.raises(SiteError):
            site.load(path)
