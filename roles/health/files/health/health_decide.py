"""From what was seen to what is done about it. Pure: memory and a look in, a decision and the new memory out."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

from health_engine import Seen

Memory = Dict[str, Any]
_ACTED = 8  # restarts and ready invocations kept


class Rules(NamedTuple):
    """Seconds, and how many bad looks in a row it takes."""

    strikes: int = 2
    window: float = 3600.0
    stall: float = 120.0
    start_timeout: float = 600.0


class Decision(NamedTuple):
    """`act`: "" nothing, restart, out, or back (it is well again: what was held is given back)."""

    act: str
    why: str
    memory: Memory


def fresh() -> Memory:
    return {
        "strikes": 0, "restarts": [], "restarted": 0, "ready": [], "work": [], "worked": 0.0, "invocation": "",
        "out": None, "held": "", "slot": "",
    }  # fmt: skip


def decide(memory: Memory, seen: Seen, now: float, rules: Rules, run: str, broken: str) -> Decision:
    """What to do. `run` names a run under way on this host, `broken` a GPU that no restart mends; "" for none."""
    new = {**fresh(), **memory}
    new["restarts"] = [one for one in new["restarts"] if 0 <= now - one["at"] < rules.window][-_ACTED:]
    stalled = _progress(new, seen, now, rules)
    if run:  # whatever is seen now is that run's doing, and its gates watch
        return Decision("", f"run {run} is under way", {**new, "strikes": 0, "held": ""})
    if seen.phase == "ok":
        if seen.invocation not in new["ready"]:
            new["ready"] = [*new["ready"], seen.invocation][-_ACTED:]
        back = "back" if new["slot"] else ""
        return Decision(back, "a completion came back", {**new, "strikes": 0, "out": None, "held": ""})
    sick = seen.phase in ("wedged", "failed") or bool(stalled)
    if not sick:
        return Decision("", seen.why or seen.phase, {**new, "strikes": 0, "held": ""})
    why = stalled or (f"the unit failed ({seen.why})" if seen.phase == "failed" else seen.why)
    new["strikes"] += 1
    if new["strikes"] < rules.strikes:
        return Decision("", f"{why}; {new['strikes']} of {rules.strikes} looks", new)
    if broken:
        return Decision("out", f"{why}; {broken}: a restart would not mend it", new)
    if new["restarts"]:
        ago = now - new["restarts"][-1]["at"]
        return Decision("out", f"{why}; restarted {ago / 60:.0f} min ago already", new)
    return Decision("restart", why, new)


def _progress(new: Memory, seen: Seen, now: float, rules: Rules) -> str:
    """Keeps how far a start has come; says why it is dead when it does not get on, or "".

    CPU time alone is progress too (kernels are compiled, graphs captured), but only as long as a start may take:
    a collective that waits for a peer spins as well.
    """
    if seen.phase != "starting":
        new["work"], new["invocation"] = [], seen.invocation
        return ""
    if seen.invocation != new["invocation"] or list(seen.work) != list(new["work"]):
        new["work"], new["invocation"], new["worked"] = list(seen.work), seen.invocation, now
    quiet = max(0.0, now - new["worked"])
    if quiet >= rules.stall:
        return f"its start has not got on for {quiet:.0f} s (started {seen.age:.0f} s ago)"
    if seen.age > rules.start_timeout:
        return f"it has been starting for {seen.age:.0f} s, {rules.start_timeout:.0f} s are allowed"
    return ""


def acted(memory: Memory, decision: Decision, seen: Seen, now: float) -> Memory:
    """The memory after a restart or after the engine was taken out."""
    new = {**memory, "strikes": 0, "held": ""}
    note = {"at": round(now, 3), "colour": seen.colour, "release": seen.release, "why": decision.why}
    if decision.act == "restart":
        restarts: List[Dict[str, Any]] = [*memory["restarts"], note]
        return {**new, "restarts": restarts, "restarted": memory["restarted"] + 1}
    return {**new, "out": note}
