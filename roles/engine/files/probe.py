"""Is the engine of a colour ready? Asked on its own host until it is, is dead, or time is up.

    probe.py --colour blue --timeout 600

Ready means: /health is 200, /props names the release the colour points to, and completions come back: the
known ones where the weights bring known answers (greedy), else any. A loading engine is told from a dead one
by its unit. Prints one JSON object; exit code 0 ready, 1 not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional

ROOT = Path("/srv/dsdeploy")
PLACES = Path("/etc/dsdeploy/colours")
_TRIES = 3  # a known answer may differ by rounding while other requests share the batch


class NotYet(Exception):
    """Ask again: the engine loads, or did not answer."""


class Wrong(Exception):
    """It answers, but not as it must; asking again does not help."""


def place(colour: str) -> str:
    """``http://address:port`` of the colour; of the head, where this host is only a part of its engine."""
    lines = (PLACES / f"{colour}.env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    address = values["HEAD"] if values.get("RANK", "0") != "0" else values["ADDRESS"]
    return f"http://[{address}]:{values['PORT']}" if ":" in address else f"http://{address}:{values['PORT']}"


def ask(url: str, body: Optional[Dict[str, Any]] = None, timeout: float = 60.0) -> Dict[str, Any]:
    """The JSON of a 200 answer. Raises NotYet."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the host
    try:
        with opener.open(request, timeout=timeout) as answer:
            found = json.load(answer)
    except (OSError, ValueError) as error:
        raise NotYet(f"{url}: {error}") from error
    if not isinstance(found, dict):
        raise NotYet(f"{url}: not a JSON object")
    return found


def alive(url: str, timeout: float) -> None:
    """A 200 answer, whatever is in it: some say nothing. Raises NotYet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=timeout).close()
    except (OSError, ValueError) as error:
        raise NotYet(f"{url}: {error}") from error


def known_answers(release: Path) -> List[Dict[str, Any]]:
    """From the build's record, else from the weights; none is fine.

    A record with an empty list is an answer too: what the weights know does not hold at this precision.
    """
    try:
        found = json.loads((release / "build" / "build.json").read_text()).get("known_answers")
    except (OSError, ValueError):
        found = None
    listed = release / "weights" / "known_answers.json"
    if found is None and listed.is_file():
        found = json.loads(listed.read_text())
    return list(found or [])


def complete(base: str, model: str, known: Dict[str, Any]) -> str:
    """The text of a greedy completion. Raises Wrong unless it starts with the known answer."""
    # without the prompt cache: a shorter batch rounds differently
    body = {"model": model, "prompt": known["prompt"], "max_tokens": known["max_tokens"],
            "temperature": 0, "cache_prompt": False}  # fmt: skip
    text = ""
    for _ in range(_TRIES):
        answer = ask(base + "/v1/completions", body)
        text = str(answer["choices"][0]["text"])
        if "answer" not in known and answer["usage"]["completion_tokens"] > 0:
            return text
        if "answer" in known and text.startswith(known["answer"]):
            return text
    wanted = repr(known["answer"]) if "answer" in known else "at least one token"
    raise Wrong(f"prompt {known['prompt']!r}: wanted {wanted}, got {text!r}")


def started_from(unit: str) -> str:
    """The folder the unit's process was started in: other runtimes do not say what they serve."""
    argv = ["systemctl", "show", unit, "--property", "MainPID", "--value"]
    process = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    try:
        return os.readlink(f"/proc/{process}/cwd")
    except OSError as error:
        raise NotYet(f"{unit} has no process: {error.strerror}") from error


def check(base: str, release: Path, unit: str = "") -> Dict[str, Any]:
    """One whole round of questions. Raises NotYet or Wrong."""
    alive(base + "/health", timeout=5)
    manifest = json.loads((release / "manifest.json").read_text())
    if manifest.get("runtime", "llamacpp") == "llamacpp":
        serving = str(ask(base + "/props", timeout=10).get("model_path", ""))
    else:
        serving = started_from(unit)
    if release.name not in serving.split("/"):
        raise Wrong(f"{base} serves {serving}, the colour points to release {release.name}")
    model = manifest["model"]
    known = known_answers(release)
    questions = known or [{"prompt": "1", "max_tokens": 8}]
    texts = [complete(base, model, question) for question in questions]
    return {"known_answers": len(known), "answer": texts[0]}


def unit_state(unit: str) -> Dict[str, str]:
    names = "ActiveState,SubState,Result,NRestarts,ExecMainStatus,Job,InvocationID"
    argv = ["systemctl", "show", unit, "--property", names]
    out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def dead(state: Dict[str, str], restarts: Optional[str]) -> str:
    """Why nothing will come of waiting, or nothing. A restart while we watch is a death."""
    queued = state.get("Job", "0") not in ("", "0")  # started a moment ago: inactive does not mean over
    if state.get("ActiveState") in ("failed", "inactive") and not queued:
        return f"the unit {state['ActiveState']} ({state.get('Result')}, exit {state.get('ExecMainStatus')})"
    if state.get("SubState") == "auto-restart" or restarts not in (None, state.get("NRestarts")):
        return f"the engine died while starting ({state.get('Result')})"
    return ""


def last_words(invocation: str) -> str:
    """What the engine and systemd said since this start, the last lines of it."""
    argv = ["journalctl", "--lines", "12", "--no-pager", "--output", "cat"]
    argv += [f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
    out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, errors="replace", check=False).stdout
    return "".join(f"\n    {line}" for line in out.splitlines())


def wait(colour: str, timeout: float) -> Dict[str, Any]:
    """Ask until ready, dead, wrong or late. The result says which, with a message for the operator."""
    unit, release = f"dsdeploy-engine@{colour}.service", (ROOT / colour).resolve()
    started, restarts = time.monotonic(), None
    while True:
        state = unit_state(unit)
        word, why = "dead", dead(state, restarts)
        restarts = state.get("NRestarts")
        if not why:
            try:
                found = check(place(colour), release, unit)
                seconds = round(time.monotonic() - started, 2)
                return {"ready": True, "state": "ready", "release": release.name, "seconds": seconds, **found}
            except Wrong as error:
                word, why = "wrong", str(error)
            except NotYet as error:
                if time.monotonic() - started >= timeout:
                    active = state.get("ActiveState")
                    word, why = "loading", f"not ready after {timeout:.0f} s, unit {active}: {error}"
        if why:
            message = f"{colour} with release {release.name} is {word}: {why}"
            message += last_words(state.get("InvocationID", ""))
            return {"ready": False, "state": word, "message": message}
        time.sleep(0.3)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--colour", choices=("blue", "green"), required=True)
    parser.add_argument("--timeout", type=float, default=0.0, help="seconds; 0 asks once")
    args = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        result = wait(args.colour, args.timeout)
    except (OSError, ValueError, KeyError) as error:
        result = {"ready": False, "state": "unknown", "message": f"{args.colour}: {error!r}"}
    print(json.dumps(result))
    return 0 if result["ready"] else 1


if __name__ == "__main__":
    sys.exit(main())
