"""A release's names: the same for the same thing, different for anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsdeploy import release
from dsdeploy.site import Site, load

DIGEST = "sha256:" + "a" * 64


def site_with(lab_site: Site, tmp_path: Path, old: str, new: str) -> Site:
    text = lab_site.file.read_text()
    assert old in text
    path = tmp_path / "site.yml"
    path.write_text(text.replace(old, new))
    return load(path)


def test_the_same_site_and_weights_give_the_same_release(lab_site: Site) -> None:
    assert release.decide(lab_site, DIGEST) == release.decide(lab_site, DIGEST)


def test_an_id_starts_with_the_models_version_and_has_twelve_digits(lab_site: Site) -> None:
    version, _, digits = release.decide(lab_site, DIGEST).id.rpartition("-")
    assert version == "v1" and len(digits) == 12 and set(digits) <= set("0123456789abcdef")


def test_other_weights_are_another_build_and_another_release(lab_site: Site) -> None:
    one, two = release.decide(lab_site, DIGEST), release.decide(lab_site, "sha256:" + "b" * 64)
    assert one.build_key != two.build_key and one.id != two.id


@pytest.mark.parametrize(
    ("old", "new", "rebuilds"),
    [
        ("precision: q8_0", "precision: f16", True),
        ("memory_fraction: 0.8", "memory_fraction: 0.5", False),
        ("max_batch_size: 64", "max_batch_size: 32", False),
        ("devices: all", "devices: [0]", False),
    ],
)
def test_a_changed_setting_is_another_release(
    lab_site: Site, tmp_path: Path, old: str, new: str, rebuilds: bool
) -> None:
    one, two = release.decide(lab_site, DIGEST), release.decide(site_with(lab_site, tmp_path, old, new), DIGEST)
    assert one.id != two.id
    assert (one.build_key != two.build_key) is rebuilds


@pytest.mark.parametrize(
    ("old", "new"), [("requests_per_second: 100", "requests_per_second: 7"), ("soak: 10s", "soak: 1s")]
)
def test_what_the_engine_never_sees_leaves_the_release_alone(
    lab_site: Site, tmp_path: Path, old: str, new: str
) -> None:
    assert release.decide(lab_site, DIGEST) == release.decide(site_with(lab_site, tmp_path, old, new), DIGEST)


def test_settings_survive_json(lab_site: Site) -> None:
    chosen = release.settings(lab_site)
    assert json.loads(json.dumps(chosen)) == chosen
    assert release.settings_digest(json.loads(json.dumps(chosen))) == release.settings_digest(chosen)


def test_a_build_key_depends_on_each_of_its_parts() -> None:
    parts = {"weights_digest": "w", "builder": "b", "precision": "p", "hardware": "h", "flags": {}}
    keys = {release.build_key(**parts)}  # type: ignore[arg-type]
    for name in parts:
        keys.add(release.build_key(**{**parts, name: {"x": 1} if name == "flags" else "other"}))  # type: ignore[arg-type]
    assert len(keys) == 6 and all(len(key) == 16 for key in keys)


def test_every_package_of_the_runtime_is_pinned_exactly() -> None:
    pins = release.pinned(release.requirements("llamacpp"))
    assert pins["xllamacpp"] == "2026.10.11549" and pins["gguf"] == "0.19.0"
    assert {"numpy", "pip", "requests", "pyyaml", "tqdm"} < set(pins)
    assert release.runtime_version("llamacpp").startswith("2026.10.11549-")


def test_any_changed_pin_is_another_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = release.runtime_version("llamacpp")
    text = release.requirements("llamacpp").read_text()
    changed = tmp_path / "requirements.txt"
    changed.write_text(text.replace("tqdm==", "tqdm==0"))
    monkeypatch.setattr(release, "requirements", lambda runtime: changed)
    assert release.runtime_version("llamacpp") != before


def test_the_builders_version_is_read_from_the_builder() -> None:
    assert release.builder_version("llamacpp").startswith("gguf_build-")
    assert release.builder_version("llamacpp").endswith("+gguf-0.19.0")


def test_an_id_that_was_given_is_taken(lab_site: Site) -> None:
    rollout = lab_site.rollout.model_copy(update={"release": "v1-hotfix"})
    named = release.decide(lab_site.model_copy(update={"rollout": rollout}), DIGEST)
    derived = release.decide(lab_site, DIGEST)
    assert named.id == "v1-hotfix" and derived.id != named.id
    assert (named.build_key, named.settings) == (derived.build_key, derived.settings)
