"""Our flags against the runtimes' own parsers: as recorded (record.py, parsers/), and the real ones where there are.

vLLM 0.33.0 and SGLang 0.5.23 were recorded from their wheels; Triton from the help of its server 2.51.0.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
from typing import Any

import pytest

from dsdeploy import release
from dsdeploy.runtimes import sglang, vllm
from dsdeploy.site import Site

from . import record
from .examples import HERE

SAMPLE = {"PORT": "8101", "RANK": "1", "INNER_PORT": "8201", "METRICS_PORT": "8203"}


def flags(site: Site) -> list[str]:
    """What stands behind the program and its subcommand, with values of the right kind."""
    launch = release.settings(site)["launch"]
    words = [*launch["argv"], *launch["worker"]]
    skip = next(index for index, word in enumerate(words) if word.startswith("--") or word == "@WEIGHTS@")
    return [SAMPLE.get(word.strip("@"), word) for word in words[skip:]]


def recorded(runtime: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((HERE / "parsers" / f"{runtime}.json").read_text())
    return told


def faults(options: dict[str, Any], words: list[str]) -> list[str]:
    """Flags the parser does not have, lacks a value of, or has others for."""
    found, queue = [], words[:]
    while queue:
        flag, given, value = queue.pop(0).partition("=")
        entry = options.get(flag) or options.get(flag.split(".")[0] if given else flag)
        if entry is None:
            found.append(f"{flag} is unknown")
            continue
        if entry["values"] == 0:
            continue
        value = value if given else (queue.pop(0) if queue and not queue[0].startswith("--") else "")
        if not value:
            found.append(f"{flag} has no value")
        elif "." not in flag and entry.get("choices") and value not in entry["choices"]:
            found.append(f"{flag} {value} is not one of {entry['choices']}")
    return found


def test_the_recorded_parser_knows_every_flag(example: Site) -> None:
    runtime = example.engine.runtime
    if runtime == "llamacpp":
        assert "launch" not in release.settings(example)
        return
    words = flags(example)
    words = words[1:] if words[0] == "@WEIGHTS@" else words
    assert faults(recorded(runtime)["options"], words) == []


@pytest.mark.parametrize(("module", "runtime"), [(vllm, "vllm"), (sglang, "sglang")])
def test_the_record_is_of_the_version_we_name(module: Any, runtime: str) -> None:
    assert recorded(runtime)["version"] == module.VERSION


def test_the_check_finds_what_is_wrong() -> None:
    options = recorded("vllm")["options"]
    assert faults(options, ["--no-such-flag"]) == ["--no-such-flag is unknown"]
    assert faults(options, ["--port"]) == ["--port has no value"]
    assert faults(options, ["--dtype", "float7"])[0].startswith("--dtype float7 is not one of")
    assert faults(options, ["--headless", "--port", "1", "--kernel-config.a=b"]) == []


@pytest.mark.parametrize("runtime", ["vllm", "sglang"])
def test_the_real_parser_takes_the_golden_commands(runtime: str) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed here; its recorded options are compared instead")
    parser = record.parser(runtime)
    taken = 0
    for path in (HERE / "golden").glob(f"{runtime}*/command.txt"):
        for line in path.read_text().splitlines():
            words = shlex.split(line, comments=True)
            if {"serve", "sglang.launch_server"} & set(words):
                begin = words.index("serve" if runtime == "vllm" else "sglang.launch_server") + 1
                parser.parse_args(words[begin:])
                taken += 1
    assert taken > 1
