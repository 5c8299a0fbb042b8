"""The site file: what a good one becomes, where a bad one is wrong, and what the example must show."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from dsdeploy import site
from dsdeploy.commands.init import example, init
from dsdeploy.commands.schema import text as schema_text
from dsdeploy.errors import DsdeployError, SiteError

EXAMPLES = sorted((Path(__file__).parent.parent / "inventory").glob("*/site.yml"))

SMALL = """\
site: small
stack: cpu
hosts:
  one: {address: 192.0.2.1, roles: [engine, router, zookeeper]}
model: {name: m, version: v1, source: /mnt/m/}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "site.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def problems(path: Path) -> list[str]:
    with pytest.raises(SiteError) as caught:
        site.load(path)
    return [f"{p.where.removeprefix(str(path))} {p.what} | {p.hint}" for p in caught.value.problems]


def models() -> Iterator[type[BaseModel]]:
    def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        yield model
        for field in model.model_fields.values():
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from below(part)

    return below(site.Site)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_loads(path: Path) -> None:
    assert site.load(path).hosts


def test_what_is_not_said_has_a_default_and_units_are_plain_numbers(write: Write) -> None:
    loaded = site.load(write(SMALL))
    assert loaded.ssh.user == "root" and loaded.ssh.connect_timeout == 10.0
    assert loaded.zookeeper.heap == 512 * 2**20 and loaded.router.max_body == 2**20
    assert loaded.rollout.drain == 300.0 and loaded.engine.start_timeout == 600.0
    assert loaded.engine.devices == "all" and loaded.engine.ports.green == 8102


@pytest.mark.parametrize(
    ("written", "seconds"), [("500ms", 0.5), ("1.5s", 1.5), ("10s", 10.0), ("5m", 300.0), ("24h", 86400.0)]
)
def test_durations_become_seconds(write: Write, written: str, seconds: float) -> None:
    assert site.load(write(SMALL + f"rollout: {{soak: {written}}}\n")).rollout.soak == seconds


@pytest.mark.parametrize(("written", "count"), [("65536", 65536), ("64KiB", 2**16), ("1GiB", 2**30)])
def test_sizes_become_bytes(write: Write, written: str, count: int) -> None:
    assert site.load(write(SMALL + f"router: {{max_body: {written}}}\n")).router.max_body == count


@pytest.mark.parametrize("version", ["1.10", "0755", "2026-11-22", "22:22", "1e3", "no", "~v", "0x1F", "007"])
def test_a_name_is_kept_as_it_was_typed(write: Write, version: str) -> None:
    content = SMALL.replace("version: v1", f"version: {version}")
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", version):
        assert site.load(write(content)).model.version == version
    else:
        assert problems(write(content)) and version in problems(write(content))[0]


def test_paths_are_resolved_beside_the_site_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    path = write(SMALL + "ssh: {identity: keys/id, known_hosts: ~/known}\nengine: {wheelhouse: /opt/wheels}\n")
    loaded = site.load(path)
    assert loaded.ssh.identity == path.parent / "keys/id"
    assert loaded.ssh.known_hosts == Path("/home/ana/known")
    assert loaded.engine.wheelhouse == Path("/opt/wheels")
    assert loaded.file == path


def test_a_folder_that_ssh_would_not_read_as_it_is_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "100% {{ sure }}"
    folder.mkdir()
    path = folder / "site.yml"
    path.write_text(SMALL + "ssh: {known_hosts: known}\n")
    assert "ssh.known_hosts: lies in a folder" in problems(path)[0]


def test_members_are_numbered_in_file_order_around_fixed_numbers(write: Write) -> None:
    hosts = "".join(
        f"  h{n}: {{address: 192.0.2.{n}, roles: [engine, router, zookeeper]{fixed}}}\n"
        for n, fixed in ((1, ""), (2, ", zookeeper_id: 1"), (3, ""))
    )
    loaded = site.load(write(re.sub(r"  one: .*\n", hosts, SMALL)))
    assert [(member.id, member.host) for member in loaded.members] == [(2, "h1"), (1, "h2"), (3, "h3")]
    assert loaded.members[0].address == "192.0.2.1"
    assert loaded.with_role("engine") == ("h1", "h2", "h3")
    assert loaded.with_role("monitor") == ()


def test_every_problem_is_told_at_once_with_its_place_and_a_hint(write: Write) -> None:
    path = write(
        "site: small\n"
        "ssh: {prot: 22, connect_timeout: 10}\n"
        "stack: cpu\n"
        "hosts:\n"
        "  one: {address: 192.0.2.1, roles: [engine, router, zookeeper]}\n"
        "  two: {address: 192.0.2.1, roles: [engine]}\n"
        "  one: {address: 192.0.2.3, roles: [engine]}\n"
        "model: {name: m, version: v1}\n"
        "engine: {batching: {max_batch_size: 8}}\n"
    )
    assert problems(path) == [
        ":2:7 ssh.prot: unknown key | did you mean 'port'?",
        ":2:34 ssh.connect_timeout: '10' is not a duration | write the unit: 10s",
        ":6:18 hosts.two.address: 192.0.2.1 is the address of one already | one machine, one name",
        ":7:3 duplicate key 'one', first on line 5 | keep one of the two",
        ":8:1 model.source: missing | add it: "
        "Folder of the files and their MD5SUMS: an http(s) URL ending in /, or a path on hosts.",
        ":9:20 engine.batching.preferred_batch_size[0]: 16 is over max_batch_size 8 | "
        "no batch gets that large: lower it, or raise max_batch_size",
        ":9:20 engine.batching.preferred_batch_size[1]: 32 is over max_batch_size 8 | "
        "no batch gets that large: lower it, or raise max_batch_size",
    ]


def test_a_syntax_error_shows_the_line_and_a_caret(write: Write) -> None:
    found = problems(write("site: x\nhosts:\n\tone: 1\n"))
    assert found == [
        ":3:1 a tab where YAML wants spaces\n    →one: 1\n    ^ | replace it: YAML does not indent with tabs"
    ]


def test_arithmetic_of_an_even_ensemble_is_shown(write: Write) -> None:
    two = SMALL.replace("model:", "  two: {address: 192.0.2.2, roles: [zookeeper]}\nmodel:")
    assert problems(write(two)) == [
        ":5:36 hosts.two.roles: 2 zookeeper members: majority 2, tolerates 0 failures, the same as 1 | "
        "use 1, 3 or 5 members"
    ]


@pytest.mark.parametrize("what", ["missing", "folder", "fifo", "unreadable name"])
def test_what_is_not_a_file_is_said_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "site.yml"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        subprocess.run(["mkfifo", str(path)], check=True)
    elif what == "unreadable name":
        path = Path("site\0.yml")
    with pytest.raises(SiteError) as caught:
        site.load(path)
    assert caught.value.exit_code == 2 and len(caught.value.problems) == 1


def test_loading_a_site_file_loads_neither_ansible_nor_pyinfra() -> None:
    code = "import sys, dsdeploy.site; print([m for m in sys.modules if m.split('.')[0] in ('ansible', 'pyinfra')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_every_field_is_explained_and_nothing_can_be_changed(model: type[BaseModel]) -> None:
    assert model.model_config["frozen"] and model.model_config["extra"] == "forbid"
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_the_schema_is_what_the_models_accept() -> None:
    schema = json.loads(schema_text())
    assert schema["required"] == ["site", "stack", "hosts", "model"]
    assert schema["$defs"]["Rollout"]["properties"]["drain"]["default"] == "5m"
    assert schema["$defs"]["Router"]["properties"]["max_body"]["default"] == "1MiB"
    assert schema["$defs"]["Router"]["properties"]["port"]["maximum"] == 65535
    pattern = schema["$defs"]["Ssh"]["properties"]["connect_timeout"]["pattern"]
    assert re.search(pattern, "10s") and not re.search(pattern, "10")


def keys_shown(text: str) -> set[str]:
    """Keys written in a site file, commented-out ones included."""
    return set(re.findall(r"(?m)(?:^|[{,]) *(?:# *)?([a-z][a-z0-9_]*): ?", text))


def test_init_writes_a_site_that_loads_and_shows_every_field(tmp_path: Path) -> None:
    path = tmp_path / "new" / "site.yml"
    assert init(path) == 0
    loaded = site.load(path)
    assert loaded.with_role("engine") == ("gpu1", "gpu2")
    fields = {name for model in models() for name in model.model_fields}
    assert fields - keys_shown(example()) == set()
    first = path.read_text().splitlines()[0]
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(schema.read_text())["title"] == "dsdeploy site file"


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text("mine")
    with pytest.raises(DsdeployError):
        init(path)
    assert path.read_text() == "mine"
    init(path, force=True)
    init(path, force=True)
    assert (tmp_path / "site.yml.bak").read_text() == "mine"
    assert (tmp_path / "site.yml.bak.1").read_text() == path.read_text() == example()


def test_defaults_named_in_the_example_are_the_defaults() -> None:
    """Where the example shows a value without speaking of another default, it is the default."""
    shown: dict[str, Any] = yaml.safe_load(example())
    lines = {line.split(":")[0].strip(): line for line in example().splitlines()}
    loaded = {"site": "x", "stack": "cpu", "hosts": shown["hosts"], "model": shown["model"]}
    plain = site.Site.model_validate(loaded).model_dump()
    filled = site.Site.model_validate(shown).model_dump()
    differing = {
        key
        for section in ("ssh", "host", "engine", "zookeeper", "router", "rollout")
        for key, value in filled[section].items()
        if plain[section][key] != value
    }
    assert {key for key in differing if "default" not in lines[key]} == set()
