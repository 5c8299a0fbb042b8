"""Every crash point of every verb, the scene in which it is reached, and why some are not. Needs no machine."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsdeploy.points import PHASES, STEPS

UP, UPGRADE, MEMBERS = "up", "upgrade", "upgrade --component zookeeper"
VERBS = (UP, UPGRADE)
RERUN, ROLLBACK, REVERT = "rerun", "rollback", "revert"

# plain      to the other version, which is on the disks already
# absent     one engine host has lost the release it is to get
# returning  the hook post-switch says no, so the run goes back; it is gone when the run is finished
# in-turn    rollout.strategy in-turn
# in-turn returning
# heap       another zookeeper.heap, same version: members must be restarted
PLAIN, ABSENT, RETURNING, IN_TURN, IN_TURN_RETURNING, HEAP = (
    "plain", "absent", "returning", "in-turn", "in-turn returning", "heap",
)  # fmt: skip
MOVES = ("start", "switch", "commit", "park", "stop")
SCENES: dict[tuple[str, str], tuple[str, ...]] = {
    (UP, PLAIN): ("begin", "prepare", "build", "ensemble", *MOVES, "router", "end"),
    (UP, RETURNING): ("back", "clear"),
    (UP, IN_TURN): ("out", "swap"),
    (UP, HEAP): ("member",),
    (UPGRADE, PLAIN): ("begin", *MOVES, "end"),
    (UPGRADE, ABSENT): ("weights", "build"),
    (UPGRADE, RETURNING): ("back", "clear"),
    (UPGRADE, IN_TURN): ("out", "swap"),
    (MEMBERS, HEAP): ("ensemble", "member"),
}
# reached more than once: two routers and two batches, and what happens between them differs; the code of the loop is
# the same in both verbs, so `up` has fewer
AGAIN: dict[tuple[str, str], tuple[str, ...]] = {
    (UP, PLAIN): ("switch.action#2", "switch.action#3", "switch.action#4"),
    (UPGRADE, PLAIN): tuple(f"switch.{phase}#{n}" for n in (2, 3, 4) for phase in PHASES),
    (UPGRADE, RETURNING): ("back.intent#2", "back.action#2"),
    (UPGRADE, IN_TURN): ("out.action#2", "out.action#3", "swap.during#2", "swap.action#2"),
    (UPGRADE, IN_TURN_RETURNING): ("back.action#2", "clear.action", "back.during#3", "back.action#3", "back.action#4"),
    (MEMBERS, HEAP): ("member.action#2", "member.action#3"),
}
UNREACHED = {  # (verb, step) -> why no case has it
    (UP, "weights"): "up pulls weights in its step prepare",
    (UP, "stack"): "the lab has no GPUs: stack cpu has no such step",
    (UP, "restart"): "the lab has no GPUs: stack cpu has no such step",
    (UP, "rehearse"): "the lab has no GPUs: stack cpu has no such step",
    (UPGRADE, "rehearse"): "upgrade changes no drivers",
    (UPGRADE, "stack"): "upgrade changes no drivers",
    (UPGRADE, "restart"): "upgrade changes no drivers",
    (UP, "snapshot"): "the lab's site has no section backup; it touches nothing that serves",
    (UPGRADE, "snapshot"): "the lab's site has no section backup; it touches nothing that serves",
    (UP, "keep"): "the lab's site has no section backup and none logs",
    (UPGRADE, "keep"): "only up does it",
    (UP, "monitor"): "the lab's site has no section monitor",
    (UPGRADE, "monitor"): "only up does it",
    (UPGRADE, "prepare"): "upgrade prepares no hosts; it refuses those that are not",
    (UPGRADE, "ensemble"): f"only as {MEMBERS}, where it is a case",
    (UPGRADE, "member"): f"only as {MEMBERS}, where it is a case",
    (UPGRADE, "router"): "upgrade takes the routers' settings as they are",
    (UP, "health"): "only a site with a section health has it, and this one has none; it touches nothing that serves",
    (UPGRADE, "health"): "upgrade leaves the health timer as it is",
}


@dataclass(frozen=True)
class Case:
    verb: str
    scene: str
    point: str  # <step>.<phase>, #n for the nth time
    mode: str

    @property
    def name(self) -> str:
        return f"{self.verb}, {self.scene}: {self.point}, {self.mode}"

    @property
    def step(self) -> str:
        return self.point.partition(".")[0]


def every() -> tuple[Case, ...]:
    """All cases; those that change the ensemble last, as they need references of their own."""
    made = [
        Case(verb, scene, point, mode)
        for (verb, scene), points in _points()
        for point in points
        for mode in (RERUN, REVERT if scene == HEAP else ROLLBACK)
    ]
    return tuple(sorted(made, key=lambda case: case.scene == HEAP))


def _points() -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    for key, steps in SCENES.items():
        yield key, (*(f"{step}.{phase}" for step in steps for phase in PHASES), *AGAIN.get(key, ()))
    for key in AGAIN.keys() - SCENES.keys():
        yield key, AGAIN[key]


def chosen(only: str, sample: int, seed: int) -> tuple[Case, ...]:
    """Cases whose name matches the pattern; with `sample` so many of them at random, the seed says which."""
    found = [case for case in every() if re.search(only, case.name)]
    if sample and sample < len(found):
        picked = set(random.Random(seed).sample(range(len(found)), sample))
        return tuple(case for number, case in enumerate(found) if number in picked)
    return tuple(found)


def unreached() -> dict[str, str]:
    """Points that no case of a verb has, and why."""
    return {f"{verb}: {step}.*": why for (verb, step), why in UNREACHED.items()}


def forgotten() -> Sequence[str]:
    """Points that are neither a case of their verb nor said to be unreachable: there must be none."""
    had = {(case.verb, case.point) for case in every()}
    return [
        f"{verb}: {step.name}.{phase}"
        for verb in VERBS
        for step in STEPS
        for phase in PHASES
        if (verb, f"{step.name}.{phase}") not in had and (verb, step.name) not in UNREACHED
    ]
