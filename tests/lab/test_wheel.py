"""The wheel alone, in an empty environment outside the checkout, with the oldest ansible-core we declare.

The other tests of this folder run the newest ansible-core that the environment's Python allows; this one takes
bare machines to a serving model with 2.16.19, which still reaches CentOS 7.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, why_not

OLDEST = "2.16.19"
NETWORK = "10.90.2."


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("dsdeploy-*.whl")
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q", f"{wheel}[lab]", f"ansible-core=={OLDEST}"]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


def bare() -> dict[str, str]:
    """The caller's environment, without what would let a checkout in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def dsdeploy(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [str(folder / "venv/bin/dsdeploy"), *words]
    done = subprocess.run(argv, cwd=folder, env=bare(), capture_output=True, text=True, timeout=900, check=False)
    shown = f"$ dsdeploy {' '.join(words)}\nexit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    assert done.returncode == code and "Traceback" not in done.stderr, shown
    return done


def test_the_wheel_brings_playbooks_roles_and_templates(installed: Path) -> None:
    code = "from dsdeploy import paths; print(paths.DATA)"
    python = installed / "venv/bin/python"
    asked = [python, "-c", code]
    shown = subprocess.run(asked, cwd=installed, env=bare(), capture_output=True, text=True, check=True).stdout
    data = Path(shown.strip())
    assert installed in data.parents
    for part in ("playbooks/ansible.cfg", "roles/engine/meta/argument_specs.yml", "templates/site.yml.j2"):
        assert (data / part).is_file()
    code = "from importlib.metadata import version; print(version('ansible-core'))"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == OLDEST


def test_init_and_check_need_no_checkout(installed: Path) -> None:
    dsdeploy(installed, "init", "other.yml")
    assert "error: gw1" in dsdeploy(installed, "check", "other.yml", code=4).stderr


@pytest.fixture
def site(installed: Path) -> Iterator[Path]:
    reason = why_not()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")
    dsdeploy(installed, "init", "site.yml", "--force")
    path = installed / "site.yml"
    text = path.read_text().replace("10.90.0.", NETWORK).replace("\nsite: lab", "\nsite: wheel")
    assert NETWORK in text and "site: wheel" in text
    path.write_text(text)
    dsdeploy(installed, "lab", "up")
    yield path
    dsdeploy(installed, "lab", "down")


@pytest.mark.lab
def test_init_plan_and_up_from_the_wheel_with_the_oldest_ansible(installed: Path, site: Path) -> None:
    plan = json.loads(dsdeploy(installed, "plan", "site.yml", "--json").stdout)
    assert plan["actions"] and plan["problems"] == []
    dsdeploy(installed, "up", "site.yml", "--yes")
    assert json.loads(dsdeploy(installed, "status", "site.yml", "--json").stdout)["healthy"] is True
    assert "0 changed" in dsdeploy(installed, "up", "site.yml", "--yes").stderr
