"""From readings to decisions: pure but for the wheels, which are stood in for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dsdeploy import decide, inventory, release, wheelhouse
from dsdeploy.errors import PreflightError
from dsdeploy.facts import Engines, EngineState, Interpreter, Os, ReleaseFiles, Releases, Stamp, Weights
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

OS = Os("debian", "12", "debian", "x86_64", "6.1", "2.36", "3.11.2", 2)


def reading(host: str, digest: str = "sha256:aa", system: Os = OS, engines: Engines | None = None) -> Reading:
    stamp = Stamp("deepseek-tiny", "v1", digest, 10, "x", 10, None, None)
    values = {Weights: Weights({"deepseek-tiny/v1": stamp}), Os: system, Engines: engines or Engines()}
    return Reading(host, True, values=values)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What wheels were asked for."""
    calls: list[tuple[str, ...]] = []

    def ensure(pins: Path, python: str, arch: str, glibc: str, given: Path | None) -> Path:
        calls.append((python, arch, glibc))
        return Path("/wheels")

    monkeypatch.setattr(wheelhouse, "ensure", ensure)
    return calls


def test_the_same_weights_on_all_hosts_make_one_release(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    readings = {host: reading(host) for host in ("gpu1", "gpu2")}
    made = decide.decisions(lab_site, readings, ("gpu1", "gpu2"))
    assert made.release == decide.expected_release(lab_site, readings)
    assert made.release.startswith("v1-") and made.colours == {"gpu1": "blue", "gpu2": "blue"}
    assert asked == [("3.11", "x86_64", "2.36")]


def test_wheels_fit_the_oldest_c_library(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    older = Os("debian", "11", "debian", "x86_64", "5.10", "2.9", "3.11.9", 2)
    decide.decisions(lab_site, {"gpu1": reading("gpu1"), "gpu2": reading("gpu2", system=older)}, ("gpu1",))
    assert asked == [("3.11", "x86_64", "2.9")]


def test_different_pythons_are_refused_by_name(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    newer = Os("ubuntu", "24.04", "debian", "x86_64", "6.8", "2.39", "3.12.3", 2)
    readings = {"gpu1": reading("gpu1"), "gpu2": reading("gpu2", system=newer)}
    with pytest.raises(PreflightError, match=r"Python 3.11 on x86_64, Python 3.12 on x86_64"):
        decide.decisions(lab_site, readings, ("gpu1", "gpu2"))


NEWER, OLD = (
    Interpreter("/usr/bin/python3", "3.9", (("/usr/bin/python3.12", "3.12"),)),
    Interpreter("/x/python3", "3.8"),
)


def with_pythons(told: Interpreter, system: Os = OS) -> dict[str, Reading]:
    found = {host: reading(host, system=system) for host in ("gpu1", "gpu2")}
    return {host: replace(one, values={**one.values, Interpreter: told}) for host, one in found.items()}


def test_a_second_python_that_the_runtime_runs_on_is_the_engines(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    """Rocky 9: Ansible uses the system's 3.9, which has no wheels; 3.12 was installed beside it."""
    rocky = Os("rocky", "9.4", "redhat", "x86_64", "5.14", "2.34", "3.9.18", 2)
    made = decide.decisions(lab_site, with_pythons(NEWER, rocky), ("gpu1", "gpu2"))
    assert asked == [("3.12", "x86_64", "2.34")]
    assert made.pythons == {"gpu1": "/usr/bin/python3.12", "gpu2": "/usr/bin/python3.12"}
    rendered = yaml.safe_load(inventory.render(lab_site, made))["all"]["hosts"]
    assert rendered["gpu1"]["engine_python"] == "/usr/bin/python3.12" and "engine_python" not in rendered["gw1"]


def test_the_python_ansible_uses_is_the_engines_where_it_fits(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    both = Interpreter("/usr/bin/python3", "3.11", (("/usr/bin/python3.13", "3.13"),))
    assert decide.decisions(lab_site, with_pythons(both), ("gpu1",)).pythons == {}
    assert asked == [("3.11", "x86_64", "2.36")]


def test_no_python_for_the_runtime_is_refused_with_what_helps(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    centos = Os("centos", "7", "redhat", "x86_64", "3.10", "2.17", "", 2)
    with pytest.raises(PreflightError, match=r"needs Python 3.10 to 3.13, gpu1 has 3.8") as refused:
        decide.decisions(lab_site, with_pythons(OLD, centos), ("gpu1",))
    assert "/usr/local/bin/python3.13" in refused.value.problems[0].hint and asked == []


def test_different_weights_under_one_version_are_refused(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    readings = {"gpu1": reading("gpu1", "sha256:aa"), "gpu2": reading("gpu2", "sha256:bb")}
    with pytest.raises(PreflightError, match="different weights"):
        decide.decisions(lab_site, readings, ("gpu1", "gpu2"))
    assert decide.expected_release(lab_site, readings) is None


def test_a_target_without_weights_is_named(lab_site: Site, asked: list[tuple[str, ...]]) -> None:
    readings = {"gpu1": reading("gpu1"), "gpu2": reading("gpu2", "")}
    with pytest.raises(PreflightError) as refused:
        decide.decisions(lab_site, readings, ("gpu1", "gpu2"))
    assert [problem.where for problem in refused.value.problems] == ["host gpu2"]
    with pytest.raises(PreflightError, match="no host has verified weights"):
        decide.decisions(lab_site, {"gpu1": reading("gpu1", "")}, ())


def test_the_other_colour_keeps_its_release_for_the_routers_header(
    lab_site: Site, asked: list[tuple[str, ...]]
) -> None:
    old = Engines(blue=EngineState("blue", "v0-old", "v0-old", "active", 8101, "ok"))
    readings = {"gpu1": reading("gpu1", engines=old), "gpu2": reading("gpu2")}
    made = decide.decisions(lab_site, readings, ("gpu1", "gpu2"))
    assert made.colours["gpu1"] == "green" and made.releases["gpu1"] == {"blue": "v0-old"}


def test_a_given_id_that_a_host_has_with_other_content_is_refused(lab_site: Site) -> None:
    rollout = lab_site.rollout.model_copy(update={"release": "v1-hotfix"})
    site = lab_site.model_copy(update={"rollout": rollout})
    chosen = release.decide(site, "sha256:aa")
    manifest = {"weights_digest": chosen.weights_digest, "build_key": chosen.build_key,
                "settings_digest": release.settings_digest(chosen.settings)}  # fmt: skip

    def on(content: dict[str, str]) -> dict[str, Reading]:
        there = reading("gpu1")
        files = ReleaseFiles("v1-hotfix", content, {"schema": 1}, build=True, runtime=True, weights=True)
        return {"gpu1": Reading("gpu1", True, values={**there.values, Releases: Releases({"v1-hotfix": files})})}

    assert decide.expected_release(site, on(manifest)) == "v1-hotfix"
    with pytest.raises(PreflightError, match="v1-hotfix is on gpu1 with other content"):
        decide.expected_release(site, on(manifest | {"build_key": "other"}))
