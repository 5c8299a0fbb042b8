"""Where a run can be made to die: every step of `up` and `upgrade` has three named points.

    <step>.intent   the intent is on disk, nothing has happened yet
    <step>.during   the step's play has started its first task
    <step>.action   the action is over, its done-record is not written yet

A test arms one with ``DSDEPLOY_CRASH=switch.action=kill``; ``switch.intent#3=kill`` means the third
time it is reached. The actions are kill (SIGKILL to this process), raise (a failure of the step) and
``sleep:SECONDS``. A step that is not in STEPS cannot be run at all, so none can be added that the
tests do not kill; `docs/upgrades.md` says what each leads to.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass
from time import sleep

from dsdeploy.errors import DsdeployError

VARIABLE = "DSDEPLOY_CRASH"


@dataclass(frozen=True)
class Step:
    """One kind of atomic step. `leaves` is what takes requests when a run dies in it; `up` and `upgrade` say in
    which of the two it happens; `past`: the new release is recorded as serving, the way back is a rollback."""

    name: str
    does: str
    leaves: str = "the old release"
    up: bool = True
    upgrade: bool = True
    past: bool = False


_MIXED = "the old release, the new one where it was switched to"
_NEW = "the new release"

STEPS: tuple[Step, ...] = (
    Step("begin", "hosts learn the run and its epoch; lower epochs are refused from here on"),
    Step("prepare", "hosts are prepared; at the same time weights are pulled and verified", upgrade=False),
    Step(
        "stack",
        "`up` with GPUs: driver and CUDA come, to hosts that serve one by one and drained",
        up=False,
        upgrade=False,
    ),
    Step(
        "rehearse",
        "`up` with GPUs: a host that serves is asked whether the packages can be had, before it is drained",
        up=False,
        upgrade=False,
    ),
    Step(
        "restart",
        "`up` with GPUs: a drained host is restarted and must come back with the driver",
        up=False,
        upgrade=False,
    ),
    Step("weights", "weights are pulled and verified, beside those that serve", up=False),
    Step("build", "the runtime is installed and the build is made"),
    Step("ensemble", "ZooKeeper is installed and configured on each member", upgrade=False),
    Step("member", "one ZooKeeper member is restarted", "what served; members do not answer requests"),
    Step(
        "snapshot",
        "only where the site has the section `backup`: every host makes a good snapshot before anything is switched",
        up=False,
        upgrade=False,  # not what every run does, and so in no crash scene: the same of keep and monitor
    ),
    Step("start", "the new release starts in the idle colour of every engine host and answers the known question"),
    Step("out", "in turn only: one host leaves rotation on a router", "the old release, on the other hosts"),
    Step(
        "swap",
        "in turn only: a host's old release is stopped, the new one started",
        "the old release, on the other hosts",
    ),
    Step("switch", "one router sends a batch's requests to the new release, and keeps it for its next start", _MIXED),
    Step("commit", "the new release is recorded as the one that serves", _NEW, past=True),
    Step("park", "drained colours are taken out of every router", _NEW, past=True),
    Step("stop", "the old release is stopped; its files stay", _NEW, past=True),
    Step("router", "routers get the site file's settings; colours stay as they are", _NEW, upgrade=False, past=True),
    Step(
        "health",
        "up of a site that asks for it: engine hosts get the health timer",
        _NEW,
        up=False,
        upgrade=False,
        past=True,
    ),
    Step(
        "keep",
        "only where the site has the section `backup` or `logs`, at the end of `up`: programs and timers",
        _NEW,
        up=False,
        upgrade=False,
        past=True,
    ),
    Step(
        "monitor",
        "only where the site has the section `monitor`, at the end of `up`: exporters, rules and alerts",
        _NEW,
        up=False,
        upgrade=False,
        past=True,
    ),
    Step("back", "on the way back: a router sends requests to the old release again", _MIXED),
    Step("clear", "on the way back: the release that was given up is stopped; its files stay"),
    Step("end", "the outcome is recorded on every host", _NEW, past=True),
)
NAMES = frozenset(step.name for step in STEPS)
PHASES = ("intent", "during", "action")

_reached: Counter[str] = Counter()


def reach(point: str) -> None:
    """Does what the environment armed for this point, else nothing. Raises DsdeployError for `raise`."""
    step, _, phase = point.partition(".")
    assert step in NAMES and phase in PHASES, f"{point} is not in the registry"
    armed = os.environ.get(VARIABLE, "")
    if not armed:
        return
    _reached[point] += 1
    where, _, action = armed.partition("=")
    name, _, count = where.partition("#")
    if name != point or _reached[point] != int(count or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise DsdeployError(f"the crash point {point} was armed", f"{VARIABLE}={armed}", f"unset {VARIABLE}")
    else:
        sleep(float(action.removeprefix("sleep:")))
