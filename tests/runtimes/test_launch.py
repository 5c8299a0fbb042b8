"""What each example site starts: flags, environment, units, pbtxt, against golden files.

`DSDEPLOY_GOLDEN=write pytest tests/runtimes/test_launch.py` writes them anew; read the difference.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dsdeploy import inventory, release
from dsdeploy.runtimes import groups, triton
from dsdeploy.site import Site

from .examples import FILES, HERE, program

DIGEST = "sha256:" + "a" * 64
HARDWARE = "x86_64 sm_9.0 NVIDIA H200 driver 580.95.05"
TEMPLATES = Environment(
    loader=FileSystemLoader(FILES.parent / "templates"), undefined=StrictUndefined, trim_blocks=True
)
TEMPLATES.filters["comment"] = lambda text: f"# {text}"
FIXED = {"__engine_root": "/srv/dsdeploy", "__engine_programs": "/usr/local/lib/dsdeploy", "__engine_user": "dsdeploy"}


def golden(site: Site, name: str, text: str) -> None:
    path = HERE / "golden" / site.site / name
    if os.environ.get("DSDEPLOY_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def place(site: Site, host: str) -> dict[str, str]:
    """The blue colour's environment file on a host, as the role writes it."""
    told = inventory.host_vars(site, host, inventory.Decisions())
    found = {"ADDRESS": told["engine_address"], "PORT": str(site.engine.ports.blue), "DRAIN_S": "300"}
    if "engine_head" in told:
        found |= {"RANK": str(told["engine_rank"]), "HEAD": told["engine_head"]}
    if "engine_head" in told or site.engine.runtime == "triton":
        found["INNER_PORT"] = str(site.engine.inner_ports.blue)
    return found


def units(site: Site) -> dict[str, str]:
    """The unit, and the colour's drop-in where the runtime has one."""
    several = groups.groups(site)[0].hosts[1:]
    values: dict[str, Any] = {
        **FIXED, "ansible_managed": "Ansible managed", "engine_start_timeout_s": 600, "engine_drain_s": 300,
        "engine_runtime": site.engine.runtime, "engine_image": site.engine.image or "",
        "engine_head": "10.0.0.11" if several else "",
    }  # fmt: skip
    made = {"dsdeploy-engine@.service": TEMPLATES.get_template("dsdeploy-engine@.service.j2").render(values)}
    if site.engine.runtime != "llamacpp":
        made["runtime.conf"] = TEMPLATES.get_template("runtime.conf.j2").render(values)
    return made


def test_the_settings_are_the_golden_ones(example: Site) -> None:
    chosen = release.settings(example, HARDWARE)
    assert json.loads(json.dumps(chosen)) == chosen
    golden(example, "engine.json", json.dumps(chosen, indent=1, sort_keys=True) + "\n")


def test_what_each_host_starts_is_the_golden_command(example: Site) -> None:
    launch = release.settings(example, HARDWARE).get("launch")
    if launch is None:
        assert example.engine.runtime == "llamacpp"
        return
    filled = program(example.engine.runtime, "filled")
    lines = []
    for host in example.with_role("engine"):
        known = filled.words(
            place(example, host), Path("/srv/dsdeploy/releases/v1-0"), Path("/var/cache/e/k"), "e-blue"
        )
        argv, environment = filled.command(launch, known | {"UID": "998", "GID": "998"})
        assert not [word for word in (*argv, *environment.values()) if re.search("@[A-Z_]+@", word)]
        lines += [
            f"# {host}",
            *(f"{name}={value}" for name, value in sorted(environment.items())),
            shlex.join(argv),
            "",
        ]
    golden(example, "command.txt", "\n".join(lines))


def test_the_units_are_the_golden_ones(example: Site) -> None:
    for name, text in units(example).items():
        golden(example, name, text)


def test_systemd_finds_nothing_wrong_with_the_units(example: Site, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    found = units(example)
    # only what is not on this machine is stood in for: the interpreter of the runtime, and podman
    here = {"/srv/dsdeploy/%i/runtime/bin/python": "/usr/bin/env", "/usr/bin/podman": "/usr/bin/env"}
    for name, text in found.items():
        for missing, there in here.items():
            text = text.replace(missing, there)
        path = tmp_path / ("dsdeploy-engine@blue.service.d" if name.endswith(".conf") else "") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "dsdeploy-engine@blue.service").symlink_to("dsdeploy-engine@.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "dsdeploy-engine@blue.service")],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:/usr/lib/systemd/system"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "dsdeploy-engine" in line]
    assert (done.returncode, said) == (0, [])


def test_the_pbtxt_is_the_golden_one(example: Site) -> None:
    if example.engine.runtime != "triton":
        assert "config" not in release.settings(example, HARDWARE)["build"]["flags"]
        return
    text = triton.config_pbtxt(example)
    assert "max_batch_size: 64\n" in text and "preferred_batch_size: [ 16, 32 ]\n" in text
    assert "max_queue_delay_microseconds: 10000\n" in text
    golden(example, "config.pbtxt", text)


def test_no_word_of_a_launch_goes_through_a_shell(example: Site) -> None:
    launch = release.settings(example, HARDWARE).get("launch", {"wrap": [], "argv": []})
    assert not {"sh", "bash", "-c", "/bin/sh"} & {*launch["wrap"], *launch["argv"]}
    image = example.engine.image
    assert bool(launch["wrap"]) is bool(image)
    assert not image or (image in launch["wrap"] and "--pull=never" in launch["wrap"])


def test_the_inventory_names_one_server_for_each_engine(example: Site) -> None:
    servers = {server["host"] for server in inventory.router_engines(example, inventory.Decisions())}
    assert servers == set(example.with_role("engine")[:: example.engine.nodes])


def test_running_code_that_lies_with_the_weights_is_the_sites_decision(example: Site) -> None:
    launch = release.settings(example, HARDWARE).get("launch", {"argv": []})
    assert ("--trust-remote-code" in launch["argv"]) is example.engine.trust_remote_code


def test_llamacpp_keeps_its_release(lab_site: Site) -> None:
    """Computed before there was any other runtime: hosts that serve it must not be given a new one."""
    made = release.decide(lab_site, DIGEST)
    assert (made.id, made.build_key) == ("v1-1ca263be266e", "32dc05bd21844943")
    assert not {"launch", "image", "nodes"} & set(made.settings)
