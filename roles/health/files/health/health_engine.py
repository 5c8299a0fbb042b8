"""What the engine of this host does, seen from the host: its units, its answers, and whether a start gets on."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

ROOT = Path("/srv/dsdeploy")
PLACES = Path("/etc/dsdeploy/colours")
COLOURS = ("blue", "green")
UNIT = "dsdeploy-engine@{}.service"
_PROPERTIES = (
    "Id,ActiveState,SubState,Result,UnitFileState,MainPID,InvocationID,ExecMainStatus,InactiveExitTimestampMonotonic"
)
_REFUSED = "78"  # the engine said: these settings will never start
_HEALTH_S = 5.0
_PART = "the first host of this engine answers, and is looked at"
# what moves while an engine is at work, whatever the runtime calls it. llama.cpp and SGLang count the tokens of an
# answer when it ends, so llama.cpp's steps are counted as well, and what SGLang's scheduler does from log line to line
_WORK = (
    "llamacpp:n_decode_total", "llamacpp:tokens_predicted_total", "llamacpp:prompt_tokens_total",
    "vllm:generation_tokens_total", "vllm:prompt_tokens_total",
    "sglang:generation_tokens_total", "sglang:prompt_tokens_total", "sglang:realtime_tokens_total",
    "nv_inference_exec_count",
)  # fmt: skip


class Seen(NamedTuple):
    """One look. `phase`:

    none      no engine was set up, or none is meant to run      two      both colours run: a run's business, not ours
    stopped   enabled, but somebody stopped it                   refused  it will not start with these settings
    failed    it died, and systemd gave up                       starting it has not answered since its start
    ok        a completion came back                             slow     none in time, but tokens move
    strange   it answers, and not as we expect                   wedged   no completion, no tokens
    part      of an engine of several hosts, and not the first of them: its supervisor ends it with the first

    `work` is what a start has got done so far: numbers that grow while it gets on; `age` seconds since it was started.
    """

    phase: str
    colour: str = ""
    why: str = ""
    invocation: str = ""
    release: str = ""
    work: Tuple[int, ...] = ()
    age: float = 0.0


class Answer(NamedTuple):
    """`status` 0: nobody answered, `text` says why."""

    status: int
    text: str


def look(ready: List[str], deadline: float) -> Seen:
    """The engine now. `ready` are invocations of units that gave a completion before."""
    found = units()
    running = [
        colour for colour in COLOURS if found[colour].get("ActiveState") in ("active", "activating", "reloading")
    ]
    if len(running) == 2:
        return Seen("two", why="both colours run and no run is under way: dsdeploy resume, or dsdeploy up")
    if not running:
        return _quiet(found)
    colour, unit = running[0], found[running[0]]
    release = (ROOT / colour).resolve().name
    seen = Seen("starting", colour, "", unit.get("InvocationID", ""), release, age=_age(unit))
    if part(colour):
        return seen._replace(phase="part", why=_PART)
    if unit["ActiveState"] == "active":
        phase, why = question(colour, deadline)
        if phase == "ok" or seen.invocation in ready:
            return seen._replace(phase=phase, why=why)
        seen = seen._replace(why=why)
    return seen._replace(work=work(int(unit.get("MainPID", "0") or 0)), why=seen.why or unit.get("SubState", ""))


def units() -> Dict[str, Dict[str, str]]:
    """Properties by colour. Raises OSError and subprocess.TimeoutExpired when systemd does not answer."""
    argv = ["systemctl", "show", *(UNIT.format(colour) for colour in COLOURS), "--property", _PROPERTIES]
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=20, check=False)
    blocks = done.stdout.decode("utf-8", "replace").strip().split("\n\n")
    found = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    named = {one.get("Id", ""): one for one in found}
    return {colour: named.get(UNIT.format(colour), {}) for colour in COLOURS}


def _quiet(found: Dict[str, Dict[str, str]]) -> Seen:
    """Neither colour runs: is one meant to?"""
    for colour in COLOURS:
        unit = found[colour]
        enabled = unit.get("UnitFileState") in ("enabled", "enabled-runtime")
        if enabled and unit.get("ActiveState") in ("failed", "inactive"):
            release = (ROOT / colour).resolve().name
            if part(colour):
                return Seen("part", colour, _PART, unit.get("InvocationID", ""), release)
            how = f"{unit.get('Result')}, exit {unit.get('ExecMainStatus')}"
            if unit.get("ExecMainStatus") == _REFUSED:
                return Seen("refused", colour, how, release=release)
            phase = "failed" if unit["ActiveState"] == "failed" else "stopped"
            return Seen(phase, colour, how, unit.get("InvocationID", ""), release)
    return Seen("none")


def _age(unit: Dict[str, str]) -> float:
    """Seconds since the unit began to start."""
    began = unit.get("InactiveExitTimestampMonotonic", "")
    return max(0.0, time.monotonic() - int(began) / 1e6) if began.isdecimal() and int(began) else 0.0


def question(colour: str, deadline: float) -> Tuple[str, str]:
    """(phase, why) of an engine that runs: a real completion within `deadline` seconds, or signs of work."""
    try:
        base = place(colour)
        model = str(json.loads((ROOT / colour / "manifest.json").read_text())["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return "strange", f"its files do not say where and what it serves: {error!r}"
    before = tokens(base)
    health = ask(base + "/health", _HEALTH_S)
    body = {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}
    said = ask(base + "/v1/completions", deadline, body)
    if said.status == 200 and completed(said.text):
        return "ok", ""
    if said.status in (400, 401, 403, 404, 405, 422):
        return "strange", f"the completion was refused with {said.status}: {said.text[:120]!r}"
    after = tokens(base)
    if before is not None and after is not None and after > before:
        return "slow", f"no completion within {deadline:g} s, but tokens move ({after - before} in that time)"
    how = f"status {said.status}" if said.status else said.text
    return (
        "wedged",
        f"no completion within {deadline:g} s ({how}), health {health.status or health.text}, tokens stand still",
    )


def part(colour: str) -> bool:
    """Whether another host answers for the engine this one is part of."""
    try:
        return _values(colour).get("RANK", "0") != "0"
    except OSError:
        return False


def _values(colour: str) -> Dict[str, str]:
    lines = (PLACES / f"{colour}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def place(colour: str) -> str:
    """``http://address:port``. Raises OSError, KeyError."""
    values = _values(colour)
    address = values["ADDRESS"]
    return f"http://[{address}]:{values['PORT']}" if ":" in address else f"http://{address}:{values['PORT']}"


def ask(url: str, timeout: float, body: Optional[Dict[str, Any]] = None) -> Answer:
    """One HTTP question, all of it within `timeout` seconds; never through a proxy of the host."""
    ends = time.monotonic() + timeout
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            parts: List[bytes] = []
            while True:
                part = answer.read1(65536)
                if not part:
                    return Answer(int(answer.status), b"".join(parts).decode("utf-8", "replace"))
                parts.append(part)
                if time.monotonic() > ends:  # a byte now and then would reset the socket's own timeout for ever
                    return Answer(0, "the answer did not end in time")
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(300).decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        return Answer(0, str(getattr(error, "reason", error)))


def completed(text: str) -> bool:
    """Whether this is a completion with at least one token."""
    try:
        found = json.loads(text)
        return bool(found["choices"]) and int((found.get("usage") or {}).get("completion_tokens", 1)) > 0
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def tokens(base: str) -> Optional[int]:
    """Tokens and steps so far, from the engine's metrics; None when it does not say."""
    said = ask(base + "/metrics", _HEALTH_S)
    counted = [line for line in said.text.splitlines() if line.startswith(_WORK)] if said.status == 200 else []
    try:
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in counted) if counted else None
    except (ValueError, IndexError, OverflowError):
        return None


def work(pid: int, proc: Path = Path("/proc")) -> Tuple[int, ...]:
    """(MiB read and written, 16 MiB of memory, 10 s of CPU) as steps reached, of a process and all below it.

    Steps, so that a process that only waits, and polls while it does, does not look busy.
    """
    family = _family(pid, proc)
    moved = sum(_io(proc / str(one)) for one in family) >> 20
    pages = sum(_number(proc / str(one) / "statm", 1) for one in family) >> 12
    ticks = sum(_number(proc / str(one) / "stat", 13) + _number(proc / str(one) / "stat", 14) for one in family)
    return (moved, pages, ticks // 1000)


def _family(pid: int, proc: Path) -> List[int]:
    if pid <= 0:
        return []
    parents = {int(path.name): _number(path / "stat", 3) for path in proc.glob("[0-9]*")}
    family = [pid] if pid in parents else []
    for one in family:
        family += [child for child, parent in parents.items() if parent == one and child not in family]
    return family


def _io(process: Path) -> int:
    try:
        fields = dict(line.split(": ", 1) for line in (process / "io").read_text().splitlines())
        return int(fields["rchar"]) + int(fields["wchar"])
    except (OSError, KeyError, ValueError):
        return 0


def _number(path: Path, index: int) -> int:
    """A field of a /proc file by its number; a program's name may hold blanks, so it counts as one field."""
    try:
        head, _, rest = path.read_text().rpartition(")")
        fields = [*(["0", "0"] if head else []), *rest.split()]
        return int(fields[index])
    except (OSError, IndexError, ValueError):
        return 0
