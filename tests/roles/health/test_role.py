"""What the role puts on a host: programs with their pynvml, settings the timer reads, units systemd accepts."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "health"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"health_{Path(path).parent.name}", ROLE / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


places, action = load("module_utils/dsdeploy_places.py"), load("action_plugins/health_host.py")
sys.modules["ansible.module_utils.dsdeploy_places"] = places
host = load("library/health_host.py")


def test_the_host_gets_every_program_and_the_pynvml_of_this_computer() -> None:
    files = action.programs(ROLE / "files")
    for part in (
        "gpu/gpu_report.py",
        "gpu/gpu_nvml.py",
        "gpu/gpu_xids.json",
        "gpu/pynvml.py",
        "health/dsdeploy_health.py",
    ):
        assert f"/usr/local/lib/dsdeploy/{part}" in files
    assert "def nvmlDeviceGetRemappedRows" in files["/usr/local/lib/dsdeploy/gpu/pynvml.py"]
    assert len(files) == 1 + len([*(ROLE / "files").rglob("*.py"), *(ROLE / "files").rglob("*.json")])


def test_the_settings_written_are_the_settings_read() -> None:
    written = set(yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__health_config"])
    text = "".join(path.read_text() for path in (ROLE / "files" / "health").glob("*.py"))
    read = set(re.findall(r"""config(?:\[|\.get\()["']([a-z_]+)["']""", text))
    assert written == read


def render(name: str) -> str:
    given = {**yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()), "ansible_managed": "Ansible managed"}
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    env.filters["comment"] = lambda text: f"#\n# {text}\n#"
    return env.get_template(f"{name}.j2").render(given)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    for name in ("dsdeploy-health.service", "dsdeploy-health.timer"):
        (tmp_path / name).write_text(render(name))
    timer = str(tmp_path / "dsdeploy-health.timer")
    done = subprocess.run(["systemd-analyze", "verify", timer], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_files_are_found_stale_by_content_mode_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file"
    digests = {str(path): hashlib.sha256(b"text").hexdigest()}
    assert host.stale(digests) == [str(path)]
    places.settle(places.own(str(path.parent)))
    places.settle(places.own(str(path), "text"))
    assert host.stale(digests) == [] and [p.name for p in path.parent.iterdir()] == ["file"]
    path.chmod(0o600)
    assert host.stale(digests) == [str(path)]
    places.settle(places.own(str(path), "other"))
    assert host.stale(digests) == [str(path)]
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert host.stale(digests) == [str(path)]
    places.settle(places.own(str(path), "text"))
    assert host.stale(digests) == [] and not path.is_symlink()


def module_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool = False, **given: Any) -> dict[str, Any]:
    """The module as Ansible calls it, without Ansible's own wrapping."""
    answers: list[dict[str, Any]] = []

    class Module:
        def __init__(self, argument_spec: Any, supports_check_mode: bool) -> None:
            self.params = {name: given.get(name, option.get("default")) for name, option in argument_spec.items()}
            self.check_mode = check

        def exit_json(self, **answer: Any) -> None:
            answers.append(answer)

    monkeypatch.setattr(host, "AnsibleModule", Module)
    host.main()
    return json.loads(json.dumps(answers[0]))


def test_it_asks_first_then_writes_and_the_next_time_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder, prom = tmp_path / "a" / "file", tmp_path / "a", tmp_path / "prom"
    words = {
        "folders": [str(folder)],
        "present": [str(prom)],
        "digests": {str(file): hashlib.sha256(b"text").hexdigest()},
    }
    asked = module_run(tmp_path, monkeypatch, files={}, **words)
    assert (asked["changed"], asked["stale"], folder.exists()) == (True, [str(file)], False)
    looked = module_run(tmp_path, monkeypatch, check=True, files={str(file): "text"}, **words)
    assert (looked["changed"], file.exists()) == (True, False)
    wrote = module_run(tmp_path, monkeypatch, files={str(file): "text"}, **words)
    assert wrote["changed"] and file.read_text() == "text" and prom.is_dir()
    assert module_run(tmp_path, monkeypatch, files={}, **words) == {"changed": False, "written": [], "stale": []}
