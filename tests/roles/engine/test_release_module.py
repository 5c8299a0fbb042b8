"""A release on disk: written once, never changed; a colour moved by one rename."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsdeploy import release

MANIFEST = {"model": "m", "version": "v1", "weights_digest": "sha256:aa", "build_key": "k" * 16, "runtime": "llamacpp"}
SETTINGS = {"runtime_version": "1-a", "memory_fraction": 0.8}


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """A host that has verified weights, the build and the runtime."""
    root, stamps = tmp_path / "srv", tmp_path / "stamps"
    (stamps / "m").mkdir(parents=True)
    (stamps / "m" / "v1.json").write_text(json.dumps({"digest": "sha256:aa"}))
    build, runtime = root / "builds" / ("k" * 16), root / "runtimes" / "llamacpp-1-a"
    for folder in (build, runtime, root / "weights" / "m" / "v1"):
        folder.mkdir(parents=True)
    (build / "build.json").write_text(json.dumps({"key": "k" * 16}))
    (runtime / ".complete").touch()
    return {
        "root": str(root), "stamps": str(stamps), "places": str(tmp_path / "colours"), "release": "v1-1",
        "colour": "blue", "manifest": MANIFEST, "settings": SETTINGS,
        "place": {"ADDRESS": "10.0.0.1", "PORT": 8101, "DRAIN_S": 300},
    }  # fmt: skip


def apply(
    module: ModuleType, params: dict[str, Any], unit: str = "inactive", check: bool = False, **changes: Any
) -> bool:
    done: bool = module.apply(module.Release({**params, **changes}), "current", unit, check)
    return done


def test_a_release_is_written_whole_and_put_in_its_colour(release_module: ModuleType, params: dict[str, Any]) -> None:
    assert apply(release_module, params)
    home = Path(params["root"]) / "blue"
    assert home.readlink() == Path("releases/v1-1")
    assert json.loads((home / "engine.json").read_text()) == SETTINGS
    manifest = json.loads((home / "manifest.json").read_text())
    assert manifest["settings_digest"] == release.settings_digest(SETTINGS)
    assert (home / "runtime" / ".complete").is_file() and (home / "build" / "build.json").is_file()
    assert (Path(params["places"]) / "blue.env").read_text() == "ADDRESS=10.0.0.1\nDRAIN_S=300\nPORT=8101\n"


def test_the_hosts_environment_stands_beside_its_address_and_is_no_part_of_the_release(
    release_module: ModuleType, params: dict[str, Any]
) -> None:
    apply(release_module, params)
    manifest = (Path(params["root"]) / "blue" / "manifest.json").read_text()
    nccl = {"NCCL_IB_HCA": "=mlx5_0:1,mlx5_1:1", "NCCL_SOCKET_IFNAME": "=eth0"}
    assert apply(release_module, params, unit="active", place=params["place"] | nccl)  # running: no other address
    told = (Path(params["places"]) / "blue.env").read_text().splitlines()
    assert "NCCL_IB_HCA==mlx5_0:1,mlx5_1:1" in told and "NCCL_SOCKET_IFNAME==eth0" in told
    assert (Path(params["root"]) / "blue" / "manifest.json").read_text() == manifest
    assert not apply(release_module, params, unit="active", place=params["place"] | nccl)


def test_a_second_time_changes_nothing(release_module: ModuleType, params: dict[str, Any]) -> None:
    apply(release_module, params)
    assert not apply(release_module, params, unit="active")


def test_check_mode_writes_nothing_even_on_a_bare_host(
    release_module: ModuleType, params: dict[str, Any], tmp_path: Path
) -> None:
    bare = {**params, "root": str(tmp_path / "none"), "stamps": str(tmp_path / "none")}
    assert apply(release_module, bare, check=True)
    assert not (tmp_path / "none").exists() and not Path(params["places"]).exists()


@pytest.mark.parametrize(
    "changes", [{"settings": {**SETTINGS, "memory_fraction": 0.5}}, {"manifest": {**MANIFEST, "x": 1}}]
)
def test_other_content_under_the_same_id_is_refused(
    release_module: ModuleType, params: dict[str, Any], changes: dict[str, Any]
) -> None:
    apply(release_module, params)
    before = (Path(params["root"]) / "releases" / "v1-1" / "engine.json").read_text()
    with pytest.raises(release_module.Refused, match="never changed"):
        apply(release_module, params, **changes)
    assert (Path(params["root"]) / "releases" / "v1-1" / "engine.json").read_text() == before


@pytest.mark.parametrize(
    ("gone", "said"), [("stamps/m/v1.json", "vouch"), (f"srv/builds/{'k' * 16}/build.json", "build"),
                       ("srv/runtimes/llamacpp-1-a/.complete", "runtime")]
)  # fmt: skip
def test_a_release_without_one_of_its_parts_is_refused(
    release_module: ModuleType, params: dict[str, Any], tmp_path: Path, gone: str, said: str
) -> None:
    (tmp_path / gone).unlink()
    with pytest.raises(release_module.Refused, match=said):
        apply(release_module, params)
    assert not (Path(params["root"]) / "blue").is_symlink()


def test_weights_with_another_digest_are_refused(
    release_module: ModuleType, params: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "stamps" / "m" / "v1.json").write_text(json.dumps({"digest": "sha256:bb"}))
    with pytest.raises(release_module.Refused, match="sha256:aa"):
        apply(release_module, params)


@pytest.mark.parametrize("unit", ["active", "activating", "deactivating"])
def test_the_colour_of_a_running_unit_does_not_move(
    release_module: ModuleType, params: dict[str, Any], unit: str
) -> None:
    apply(release_module, params)
    with pytest.raises(release_module.Refused, match="still runs release v1-1"):
        apply(release_module, params, unit=unit, release="v1-2")
    assert (Path(params["root"]) / "blue").readlink() == Path("releases/v1-1")
    assert apply(release_module, params, unit="inactive", release="v1-2")
    assert (Path(params["root"]) / "blue").readlink() == Path("releases/v1-2")


def test_a_running_engine_keeps_its_port_but_may_get_a_new_drain_time(
    release_module: ModuleType, params: dict[str, Any]
) -> None:
    apply(release_module, params)
    with pytest.raises(release_module.Refused, match="port"):
        apply(release_module, params, unit="active", place={**params["place"], "PORT": 9})
    assert apply(release_module, params, unit="active", place={**params["place"], "DRAIN_S": 5})
    assert apply(release_module, params, unit="inactive", place={**params["place"], "PORT": 9})


@pytest.mark.parametrize("kept", ["", "ADDRESS=10.0.0.1\nDRAIN_S=300\n", "PORT=8101\n"])
def test_a_place_that_lost_lines_is_written_whole_whatever_its_unit_does(
    release_module: ModuleType, params: dict[str, Any], kept: str
) -> None:
    apply(release_module, params)
    place = Path(params["places"]) / "blue.env"
    whole = place.read_text()
    place.write_text(kept)
    assert apply(release_module, params, unit="activating")
    assert place.read_text() == whole


def test_what_a_killed_run_left_does_not_stand_in_the_way(release_module: ModuleType, params: dict[str, Any]) -> None:
    root = Path(params["root"])
    (root / "releases" / "v1-1.partial").mkdir(parents=True)
    (root / "releases" / "v1-1.partial" / "engine.json").write_text("{")
    (root / "blue.partial").symlink_to("releases/gone")
    assert apply(release_module, params)
    assert sorted(path.name for path in (root / "releases").iterdir()) == ["v1-1"]
    assert not (root / "blue.partial").is_symlink()


def test_both_colours_stand_side_by_side(release_module: ModuleType, params: dict[str, Any]) -> None:
    apply(release_module, params)
    apply(release_module, params, colour="green", release="v1-2")
    root = Path(params["root"])
    assert (root / "blue").readlink().name == "v1-1" and (root / "green").readlink().name == "v1-2"


def test_the_drop_in_of_a_colour_comes_and_goes_with_its_release(
    release_module: ModuleType, params: dict[str, Any], tmp_path: Path
) -> None:
    """A colour that goes from vllm back to llamacpp must not keep what vllm's unit needed."""
    dropin = tmp_path / "units" / "dsdeploy-engine@blue.service.d" / "runtime.conf"
    params["units"] = str(tmp_path / "units")
    release = release_module.Release({**params, "unit": "[Service]\n"})
    assert release_module.apply(release, "current", "inactive", False) and dropin.read_text() == "[Service]\n"
    assert release.placed() and not release_module.Release(params).placed()
    assert release_module.apply(release_module.Release(params), "current", "inactive", False)
    assert not dropin.exists() and release_module.Release(params).placed()
