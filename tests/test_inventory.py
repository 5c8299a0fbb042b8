"""The inventory: what Ansible reads, exactly, and nothing in it that Ansible would evaluate."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import inventory, paths, site
from dsdeploy.decisions import Decisions
from dsdeploy.inert import inert

TESTS = Path(__file__).parent
EXAMPLES = sorted((TESTS.parent / "inventory").glob("*/site.yml"))
HERE = "/site"

SMALL = """\
site: small
stack: cpu
hosts:
  one: {address: 192.0.2.1, roles: [engine, router, zookeeper]}
  two: {address: "fd00::2", roles: [engine, router]}
model: {name: m, version: v1, source: /mnt/m/}
"""


class Reader(yaml.SafeLoader):
    """Reads an inventory; text under !unsafe is text."""


Reader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(folder: Path, text: str = SMALL) -> site.Site:
    path = folder / "site.yml"
    path.write_text(text, encoding="utf-8")
    return site.load(path)


def read(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(text, Loader=Reader)["all"]
    return loaded


def decided(loaded: site.Site) -> Decisions:
    engines = loaded.with_role("engine")
    return Decisions(
        release="r-20261122-1",
        weights_digest="sha256:" + "ab" * 32,
        build_key="0123456789abcdef",
        settings={"context_tokens": 4096, "known_answers": ["Hello {{ name }}"]},
        wheelhouse=Path("/var/cache/wheels"),
        colours=dict.fromkeys(engines, "green"),
        active=dict.fromkeys(engines, "blue"),
        releases={name: {"blue": "r-20261120-1"} for name in engines},
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("state", ["undecided", "decided"])
def test_the_inventory_of_each_example_is_the_golden_one(path: Path, state: str) -> None:
    """`DSDEPLOY_GOLDEN=write pytest tests/test_inventory.py` writes them anew; read the difference."""
    loaded = site.load(path)
    decisions = decided(loaded) if state == "decided" else None
    rendered = inventory.render(loaded, decisions).replace(str(path.parent), HERE)
    golden = TESTS / "golden" / path.parent.name / f"{state}.yml"
    if os.environ.get("DSDEPLOY_GOLDEN") == "write":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


def test_what_is_not_decided_is_left_out(tmp_path: Path) -> None:
    children = read(inventory.render(load(tmp_path)))["children"]
    late = {
        "engine_release",
        "engine_weights_digest",
        "engine_build_key",
        "engine_settings",
        "engine_wheelhouse",
    }
    assert not late & set(children["engine"]["vars"])
    servers = children["router"]["vars"]["router_engines"]
    assert [(server["host"], server["colour"], server["port"]) for server in servers] == [
        ("one", "blue", 8101), ("one", "green", 8102), ("two", "blue", 8101), ("two", "green", 8102),
    ]  # fmt: skip
    assert not any(server["active"] or server["release"] for server in servers)


def test_routers_are_told_what_is_in_each_place_and_which_serves(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    decisions = Decisions(
        release="new", colours={"one": "green"}, active={"one": "blue"}, releases={"one": {"blue": "old"}}
    )
    servers = inventory.router_engines(loaded, decisions)
    assert [(server["host"], server["colour"], server["release"], server["active"]) for server in servers] == [
        ("one", "blue", "old", True), ("one", "green", "new", False),
        ("two", "blue", "", False), ("two", "green", "", False),
    ]  # fmt: skip
    hosts = read(inventory.render(loaded, decisions))["hosts"]
    assert hosts["one"]["engine_colour"] == "green" and "engine_colour" not in hosts["two"]


def test_each_host_gets_what_is_its_own(tmp_path: Path) -> None:
    hosts = read(inventory.render(load(tmp_path)))["hosts"]
    assert hosts["one"] == {
        "ansible_host": "192.0.2.1", "engine_address": "192.0.2.1", "router_address": "192.0.2.1",
        "router_peers": ["fd00::2"], "router_vip_priority": 200, "zookeeper_id": 1,
    }  # fmt: skip
    assert hosts["two"]["router_vip_priority"] < 200 and "zookeeper_id" not in hosts["two"]


def test_a_group_without_hosts_is_still_there(tmp_path: Path) -> None:
    """A playbook that names a group which is not there would fail, or without our settings do nothing."""
    assert read(inventory.render(load(tmp_path)))["children"]["monitor"] == {"vars": {}, "hosts": {}}


def test_ssh_checks_keys_and_never_asks(tmp_path: Path) -> None:
    folder = tmp_path / "a folder, with blanks"
    folder.mkdir()
    ssh = "ssh: {user: ops, port: 2222, identity: id, known_hosts: known, connect_timeout: 1500ms}\n"
    variables = read(inventory.render(load(folder, SMALL + ssh)))["vars"]
    assert variables["ansible_user"] == "ops" and variables["ansible_port"] == 2222
    assert variables["ansible_become"] is True
    assert variables["ansible_ssh_private_key_file"] == str(folder / "id")
    assert variables["ansible_ssh_timeout"] == 2
    words = shlex.split(variables["ansible_ssh_common_args"])
    for option in (
        "StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes",
        f'UserKnownHostsFile="{folder}/known"',
    ):  # fmt: skip
        assert words[words.index(option) - 1] == "-o"


def test_ssh_itself_reads_the_known_hosts_of_a_folder_with_blanks(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    variables = read(inventory.render(load(folder, SMALL + "ssh: {known_hosts: known}\n")))["vars"]
    words = shlex.split(variables["ansible_ssh_common_args"])
    try:
        shown = subprocess.run(["ssh", "-G", *words, "192.0.2.1"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("no ssh client on this machine")
    assert f"userknownhostsfile {folder}/known" in shown.stdout


def test_without_keys_of_its_own_a_site_uses_those_of_the_operator(tmp_path: Path) -> None:
    variables = read(inventory.render(load(tmp_path)))["vars"]
    assert "ansible_ssh_private_key_file" not in variables and "ansible_become" not in variables
    assert "UserKnownHostsFile" not in variables["ansible_ssh_common_args"]


def test_writing_is_private_and_whole(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    path = inventory.write(loaded, run)
    assert path == run / "inventory.yml" and path.read_text() == inventory.render(loaded)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    inventory.write(loaded, run, decided(loaded))
    assert path.read_text() == inventory.render(loaded, decided(loaded))
    assert [entry.name for entry in run.iterdir()] == ["inventory.yml"]


@pytest.mark.parametrize(
    "value",
    [
        "", "plain", "no", "0755", "1e3", "22:22", "null", "a: b # c", "'\"\\", "\n\r\t\0\x7f\x85\u2028", "é\U0001f600",
        "{{ x }}", "{% x %}", "{# x #}", "!unsafe", 0, -5, 10**30, 0.8, 1e-7, 1e22, True, False, None, [], {},
        {"a": [1, {"b": "{{ c }}"}], "{{ k }}": "v"},
    ],
)  # fmt: skip
def test_values_arrive_as_they_left(value: Any) -> None:
    text = inert(value)
    assert text.isascii() and "\n" not in text
    assert yaml.load(text, Loader=Reader) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", {1, 2}])
def test_what_is_not_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        inert(value)


def hostile(loaded: site.Site, text: str) -> tuple[site.Site, Decisions]:
    """A site as no file could make it: the text in every free string, past all patterns."""
    hosts = {name: host.model_copy(update={"address": text}) for name, host in loaded.hosts.items()}
    return loaded.model_copy(
        update={
            "site": text,
            "hosts": hosts,
            "ssh": loaded.ssh.model_copy(update={"user": text, "identity": Path(text), "known_hosts": Path(text)}),
            "model": loaded.model.model_copy(update={"name": text, "version": text, "source": text}),
            "engine": loaded.engine.model_copy(update={"runtime": text, "wheelhouse": Path(text)}),
            "zookeeper": loaded.zookeeper.model_copy(update={"tarball_url": text, "tarball_sha512": text}),
            "router": loaded.router.model_copy(update={"vip": text}),
        }
    ), Decisions(
        release=text, weights_digest=text, build_key=text, settings={text: {text: [text]}}, wheelhouse=Path(text),
        colours={"one": text}, releases={"one": {"blue": text}},
    )  # fmt: skip


def test_ansible_evaluates_nothing(tmp_path: Path) -> None:
    """For real: with a lookup that runs a command in every free string, no command runs."""
    canary = tmp_path / "canary"
    text = "{{ lookup('pipe', 'touch " + str(canary) + "') }}"
    loaded, decisions = hostile(load(tmp_path), text)
    path = inventory.write(loaded, tmp_path, decisions)
    play = tmp_path / "show.yml"
    show = {"ansible.builtin.debug": {"msg": "{{ hostvars['one'] }} {{ engine_settings }} {{ router_engines }}"}}
    tasks = [{"name": "Show", **show, "delegate_to": "localhost"}]
    play.write_text(json.dumps([{"name": "Show", "hosts": "one", "gather_facts": False, "tasks": tasks}]))
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(paths.PLAYBOOKS / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }

    def ansible(*words: str) -> str:
        argv = [sys.executable, "-m", "ansible", *words]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = json.loads(ansible("inventory", "-i", str(path), "--list"))
    assert set(listed["_meta"]["hostvars"]) == {"one", "two"}
    assert listed["router"]["hosts"] == ["one", "two"]
    assert "touch" in ansible("playbook", "-i", str(path), "--connection=local", str(play))
    assert not canary.exists()


def test_ansible_reads_every_example(tmp_path: Path) -> None:
    environment = os.environ | {"ANSIBLE_CONFIG": str(paths.PLAYBOOKS / "ansible.cfg")}
    for path in EXAMPLES:
        loaded = site.load(path)
        argv = [
            sys.executable,
            "-m",
            "ansible",
            "inventory",
            "-i",
            str(inventory.write(loaded, tmp_path)),
            "--list",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert set(json.loads(done.stdout)["_meta"]["hostvars"]) == set(loaded.hosts)
