"""One look at this host's engine and GPUs, and what follows from it. Started by dsdeploy-health.timer.

A wedged engine (no completion, no tokens) is restarted once; wedged again within the window it is stopped, which takes
it out of every router's pool within two of their checks. Neither happens while a run is under way on this host, and
neither without a permit: see health_permit.py. What was seen is in /var/lib/dsdeploy/health/state.json and in metrics.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parent.parent / "gpu"))

import health_engine as engine  # noqa: E402
import health_gpus as gpus  # noqa: E402
import health_permit as permit  # noqa: E402
import health_runs as runs  # noqa: E402
import health_zk as zk  # noqa: E402
from gpu_metrics import put  # noqa: E402
from health_decide import Decision, Memory, Rules, acted, decide, fresh  # noqa: E402
from health_marks import render  # noqa: E402

CONFIG = Path("/etc/dsdeploy/health.json")
STATE = Path("/var/lib/dsdeploy/health")
PEER_S = 10.0
DEAD_S = 1800.0  # a run that has noted nothing here for so long, and has lost its lock, is over
Config = Dict[str, Any]


def tick(config: Config) -> Memory:
    """Look, decide, act; the memory for the next tick, which is the public state as well."""
    memory = read(STATE / "state.json")
    graphics = gpus.look(config, memory, STATE)
    seen = engine.look(memory.get("ready", []), config["deadline_s"])
    rules = Rules(config["strikes"], config["window_s"], config["stall_s"], config["start_timeout_s"])
    run = runs.under_way()
    dead = run if run and over(config, run) else ""
    decision = decide(memory, seen, time.time(), rules, "" if dead else run, graphics["broken"])
    new = follow(config, decision, seen, dead)
    public = {
        "at": round(time.time(), 3), "phase": seen.phase, "colour": seen.colour, "release": seen.release,
        "why": decision.why, "gpu_problems": graphics["problems"], "hung": graphics["hung"],
    }  # fmt: skip
    return {**new, **public}


def over(config: Config, run: str) -> bool:
    """Whether a run that never noted its end is over all the same: its lock ends with it, however it dies."""
    try:
        return runs.quiet(run) > DEAD_S and not permit.locked(config)
    except zk.Trouble:
        return False


def follow(config: Config, decision: Decision, seen: engine.Seen, dead: str = "") -> Memory:
    """Do what was decided, if it is allowed; the memory afterwards. `dead` is a run that does not count any more."""
    memory = decision.memory
    if decision.act == "back":
        try:
            permit.give_back(config)
        except zk.Trouble as trouble:
            return {**memory, "held": f"the permit could not be given back: {trouble}"}
        say("its permit was given back: a completion came back")
        return {**memory, "slot": ""}
    if not decision.act:
        return memory
    try:
        slot = permit.take(config, decision.why, lambda peer: serves(peer, seen.colour))
    except permit.Refused as refusal:
        return {**memory, "held": f"{decision.act} wanted ({decision.why}), not done: {refusal}"}
    memory = {**memory, "slot": slot}
    try:
        with runs.fenced():
            changed = (
                runs.under_way() not in ("", dead)
                or engine.units()[seen.colour].get("InvocationID", "") != seen.invocation
            )
            if changed:
                return {**memory, "held": "", "strikes": 0}
            order(decision.act, seen.colour)
    except (runs.Busy, OSError, subprocess.TimeoutExpired) as trouble:
        return {**memory, "held": f"{decision.act} wanted ({decision.why}), not done: {trouble}"}
    did = "RESTARTED" if decision.act == "restart" else "TAKEN OUT"
    say(f"{did} engine {seen.colour} ({seen.release}): {decision.why}")
    return acted(memory, decision, seen, time.time())


def serves(peer: Dict[str, Any], colour: str) -> bool:
    """Whether another host's engine, in whichever colour, gives a completion now."""
    model = json.loads((engine.ROOT / colour / "manifest.json").read_text())["model"]
    body = {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}
    address = f"[{peer['address']}]" if ":" in peer["address"] else peer["address"]
    answers = (engine.ask(f"http://{address}:{port}/v1/completions", PEER_S, body) for port in peer["ports"])
    return any(answer.status == 200 and engine.completed(answer.text) for answer in answers)


def order(act: str, colour: str) -> None:
    """Kill, then start again or leave stopped. Not by an orderly stop: that waits for requests that never end."""
    unit = engine.UNIT.format(colour)
    verbs: List[List[str]] = [["kill", "--signal=SIGKILL", unit], ["reset-failed", unit]]
    verbs.append(["restart" if act == "restart" else "stop", "--no-block", unit])
    for verb in verbs:
        done = subprocess.run(["systemctl", *verb], stderr=subprocess.PIPE, timeout=30, check=False)
        if done.returncode and verb is verbs[-1]:
            raise OSError(f"systemctl {' '.join(verb)}: {done.stderr.decode('utf-8', 'replace').strip()}")


def read(path: Path) -> Memory:
    """What the last tick left; nothing where it is missing or torn."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return fresh()
    return {**fresh(), **found} if isinstance(found, dict) else fresh()


def say(line: str) -> None:
    """To the journal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    config: Config = json.loads(CONFIG.read_text())
    before = read(STATE / "state.json")
    after = tick(config)
    put(str(STATE / "state.json"), json.dumps(after) + "\n")
    put(str(Path(config["textfile_dir"]) / "dsdeploy_health.prom"), render(after))
    for line in news(before, after):
        say(line)
    return 0


def news(before: Memory, after: Memory) -> List[str]:
    """What is otherwise than at the last tick, a line each."""
    found = {
        "phase": f"{after['phase']} ({after['why']})" if after["why"] else after["phase"],
        "held": after["held"],
        "gpu_problems": "; ".join(after["gpu_problems"]),
    }
    changed = (name for name in found if after[name] != before.get(name) and (after[name] or before.get(name)))
    return [f"{name}: {found[name] or 'nothing any more'}" for name in changed]


if __name__ == "__main__":
    sys.exit(main())
