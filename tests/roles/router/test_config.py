"""What the on-host program reads from the files and writes to them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def text(rendering: ModuleType) -> str:
    rendered: str = rendering.render("haproxy.cfg.j2")
    return rendered


@pytest.mark.parametrize(
    ("wishes", "active"),
    [
        ({"gpu1": "green"}, {"gpu1-green", "gpu2-blue"}),
        ({"gpu1": "green", "gpu2": "green"}, {"gpu1-green", "gpu2-green"}),
        ({"gpu1": "none"}, {"gpu2-blue"}),
        ({}, {"gpu1-blue", "gpu2-blue"}),
    ],
)
def test_wishes_change_only_the_hosts_they_name(
    program: SimpleNamespace, text: str, wishes: dict[str, str], active: set[str]
) -> None:
    assert program.config.choose(program.config.parse(text), wishes) == active


@pytest.mark.parametrize("wishes", [{"gpu9": "green"}, {"gpu1": "red"}, {"gpu1": ""}])
def test_a_wrong_wish_is_exit_2(program: SimpleNamespace, text: str, wishes: dict[str, str]) -> None:
    with pytest.raises(program.config.Refused) as refused:
        program.config.choose(program.config.parse(text), wishes)
    assert refused.value.code == 2


def test_a_configuration_without_an_active_server_is_never_made(program: SimpleNamespace, text: str) -> None:
    with pytest.raises(program.config.Refused, match="no engine in rotation"):
        program.config.with_active(program.config.parse(text), frozenset())


def test_the_distributions_file_is_not_ours(program: SimpleNamespace) -> None:
    with pytest.raises(program.config.Refused, match="run the router role"):
        program.config.parse("global\n    daemon\n")


def test_the_map_keeps_its_comments_and_the_order_of_servers(program: SimpleNamespace) -> None:
    old = "# managed\ngpu1-blue r1\n"
    new = program.config.releases_text(old, {"b": "r2", "a": "r1"}, ["a", "b", "c"])
    assert new == "# managed\na r1\nb r2\n"


def test_write_replaces_whole_and_leaves_nothing_behind(program: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "file"
    program.config.write(path, "one\n")
    before = path.stat().st_ino
    program.config.write(path, "one\n")
    assert path.stat().st_ino == before
    program.config.write(path, "two\n")
    assert path.read_text() == "two\n" and path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
