"""`dsdeploy verify`: what hosts answer becomes a verdict; silence, nonsense and hostile text never become "good"."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import hosts, output
from dsdeploy.commands.verify import verify
from dsdeploy.errors import DsdeployError
from dsdeploy.facts.verification import (
    DeepVerification,
    DeepVerificationFact,
    Verification,
    VerificationFact,
)
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

LAB = Path(__file__).resolve().parent.parent / "inventory" / "lab" / "site.yml"
BAD = {"path": "model-2.safetensors", "kind": "md5", "wanted": "aa", "got": "bb"}
WEIGHTS = {"ok": True, "where": "/srv/w/v1", "digest": "sha256:12", "read": 3, "problems": []}


def parse(*documents: object) -> Verification:
    return VerificationFact().process([json.dumps(document) for document in documents])


def test_good() -> None:
    assert parse(WEIGHTS) == Verification(True, digest="sha256:12", read=3)


def test_findings_in_weights_and_builds() -> None:
    build = {"build": "k", "where": "/srv/b/k", "ok": False, "read": 1, "problems": [BAD]}
    found = parse({**WEIGHTS, "ok": False, "problems": [BAD], "builds": [build]})
    assert (found.ok, found.read, found.builds) == (False, 4, 1)
    assert [(finding.where, finding.path) for finding in found.findings] == [
        ("/srv/w/v1", "model-2.safetensors"),
        ("/srv/b/k", "model-2.safetensors"),
    ]


def test_still_reading() -> None:
    found = parse({"running": True, "progress": {"bytes_done": 5, "bytes_total": 9}})
    assert (found.ok, found.done, found.total) == (None, 5, 9)
    assert parse({"running": True, "progress": None}).ok is None


@pytest.mark.parametrize(
    "lines",
    [
        [], [""], ["python3: not found"], ["[]"], ["{}"], ["null"], ["[" * 100_000],
        ['{"ok": "yes"}'], ['{"ok": 1}'], ['{"ok": true, "problems": [{}]}'],
        ['{"ok": true, "builds": [{"problems": [{"path": 1}]}]}'], ['{"what": "disk", "ok": true}'],
        ['{"running": "yes", "ok": null}'],
    ],
    ids=lambda lines: str(lines)[:40],
)  # fmt: skip
def test_nothing_strange_counts_as_good(lines: list[str]) -> None:
    assert VerificationFact().process(lines).ok is False


def test_values_reach_the_shell_as_single_words() -> None:
    nasty = "x; touch /tmp/pwned '$(id)'"
    command = VerificationFact().command(nasty, "v1", "ab")
    words = shlex.split(command)
    assert words[words.index("--model") + 1] == nasty
    assert "--deep" not in words and "--deep" in DeepVerificationFact().command("m", "v1", "ab")


def test_hosts_without_engines_are_not_asked(lab_site: Site) -> None:
    assert VerificationFact().arguments(lab_site, "gw1") is None
    assert VerificationFact().arguments(lab_site, "gpu1")


class Fleet:
    """Stands in for the hosts: answers in turn for each of them, keeping what was asked."""

    def __init__(self, **answers: list[Verification | str]) -> None:
        self.answers = answers
        self.asked: list[tuple[type[Any], tuple[str, ...]]] = []

    def read(self, site: Site, kind: type[Any], names: tuple[str, ...]) -> dict[str, Reading]:
        self.asked.append((kind, names))
        return {name: self._reading(name, kind) for name in names}

    def _reading(self, name: str, kind: type[Any]) -> Reading:
        answer = self.answers[name].pop(0)
        if isinstance(answer, str):
            return Reading(name, False, answer)
        return Reading(name, True, values={kind: answer})


def run(monkeypatch: pytest.MonkeyPatch, fleet: Fleet, **options: Any) -> int:
    monkeypatch.setattr(hosts, "read", fleet.read)
    output.console.cache_clear()
    return verify(LAB, **{"as_json": True, "deep": False, "limit": (), **options})


GOOD = Verification(True, digest="sha256:12")


def test_all_good_is_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet(gpu1=[GOOD], gpu2=[GOOD])
    assert run(monkeypatch, fleet) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True and list(document["hosts"]) == ["gpu1", "gpu2"]
    assert fleet.asked == [(Verification, ("gpu1", "gpu2"))]


def test_a_finding_is_1_and_says_how_to_repair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = parse({**WEIGHTS, "ok": False, "problems": [BAD]})
    assert run(monkeypatch, Fleet(gpu1=[GOOD], gpu2=[found]), as_json=False) == 1
    said = capsys.readouterr().out
    assert "gpu2: /srv/w/v1/model-2.safetensors: md5" in said and "wanted aa, got bb" in said
    assert f"dsdeploy up {LAB}" in said


def test_a_host_that_still_reads_is_asked_again_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(gpu1=[GOOD], gpu2=[Verification(None), Verification(None), GOOD])
    assert run(monkeypatch, fleet, deep=True) == 0
    assert [names for _, names in fleet.asked] == [("gpu1", "gpu2"), ("gpu2",), ("gpu2",)]
    assert {kind for kind, _ in fleet.asked} == {DeepVerification}


def test_a_silent_host_is_4_and_keeps_the_others_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(gpu1=["refuses connections"] * 3, gpu2=[GOOD])
    assert run(monkeypatch, fleet) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False and document["hosts"]["gpu2"]["ok"] is True
    assert document["hosts"]["gpu1"] == {"reachable": False, "ok": False, "error": "refuses connections"}


def test_a_host_silent_once_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Fleet(gpu1=["lost"] * 2 + [GOOD], gpu2=[GOOD])) == 0  # type: ignore[operator]


def test_limit_to_hosts_without_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DsdeployError, match="role engine"):
        run(monkeypatch, Fleet(), limit=("gw1",))
