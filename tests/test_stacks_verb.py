"""`dsdeploy stacks`: the list, one stack explained, and the same as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dsdeploy.commands.stacks import stacks
from dsdeploy.errors import DsdeployError
from dsdeploy.stacks import matrix

M = matrix()


def test_the_list_names_every_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert stacks(None, as_json=False) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in M.profiles) and "470.57.02" in shown


@pytest.mark.parametrize("name", M.profiles)
def test_one_stack_is_explained_for_every_distribution(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stacks(name, as_json=False) == 0
    shown = capsys.readouterr().out
    for key, install in M.profiles[name].installs.items():
        assert M.distributions[key].name in shown
        for word in (install.none, *install.toolkit, *install.cudnn, *install.nccl, *install.notes):
            assert word in shown
        for repository in install.repositories:
            assert M.repositories[repository].url in shown
            assert M.keys[M.repositories[repository].signed_by].fingerprint in shown


@pytest.mark.parametrize("name", [None, *M.profiles])
def test_json_says_the_same(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert stacks(name, as_json=True) == 0
    answer = json.loads(capsys.readouterr().out)
    described = answer["stacks"] if name is None else {name: answer}
    assert set(described) == (set(M.profiles) if name is None else {name})
    for key, one in described.items():
        for place, install in one["installs"].items():
            assert install["toolkit"] == dict(M.profiles[key].installs[place].toolkit)
            assert all(len(repository["fingerprint"]) == 40 for repository in install["repositories"])
            assert bool(install["verify"]) == bool(M.profiles[key].installs[place].driver)


def test_an_unknown_stack_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DsdeployError, match="no stack 'cuda14'") as refused:
        stacks("cuda14", as_json=False)
    assert "cuda13" in refused.value.hint


def test_the_judge_loads_neither_pyinfra_nor_the_site_model() -> None:
    code = (
        "import sys; from dsdeploy import stacks; stacks.matrix(); stacks.catalogue();"
        "assert not {'pyinfra', 'pydantic', 'ansible', 'paramiko'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
