"""Does the ensemble hold, and would it without some members. Pure; fails closed.

The majority is of the *configured* voters, never of those that answered. A member counts only if it
said itself, in answer to `srvr`, that it leads or follows: silence, refusal and "imok" count as down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dsdeploy.facts.zookeeper import Srvr

MEND = "start the members that are down, dsdeploy status SITE names them; then run the same command again"


@dataclass(frozen=True)
class Quorum:
    """`serving` and `voters` are names, in configured order; `problems` has a sentence for each sick one."""

    ok: bool
    leader: str | None
    serving: tuple[str, ...]
    voters: tuple[str, ...]
    majority: int
    why: str
    problems: Mapping[str, str]


def majority(voters: int) -> int:
    """The smallest number of voters that no other group of them can outvote."""
    return voters // 2 + 1 if voters else 0


def verdict(members: Sequence[str], answers: Mapping[str, Srvr | None]) -> Quorum:
    """Judge an ensemble of these configured voters by what each answered (absent or None: nothing).

    Answers of names that are not configured do not count. A site without an ensemble has nothing to
    lose: ok, with a majority of 0.
    """
    voters = tuple(dict.fromkeys(members))
    problems = {name: why for name in voters if (why := _problem(answers.get(name), len(voters)))}
    serving = tuple(name for name in voters if name not in problems)
    leaders = tuple(name for name in serving if _mode(answers, name) in ("leader", "standalone"))
    need = majority(len(voters))
    why = _why(voters, serving, leaders, need)
    return Quorum(
        ok=not why,
        leader=leaders[0] if len(leaders) == 1 else None,
        serving=serving,
        voters=voters,
        majority=need,
        why=why or _fine(voters, serving, leaders),
        problems=problems,
    )


def may_take_down(quorum: Quorum, names: Collection[str]) -> tuple[bool, str]:
    """Whether the rest still is a majority while these members are away, with the arithmetic.

    Names that are not voters cost nothing.
    """
    gone = [name for name in quorum.voters if name in names]
    if not gone:
        return True, "none of these is a voter"
    if not quorum.ok:
        return False, quorum.why
    left = [name for name in quorum.serving if name not in gone]
    sum_ = f"{len(left)} of {len(quorum.voters)} voters would serve, {quorum.majority} are needed"
    return len(left) >= quorum.majority, f"without {', '.join(gone)} {sum_}"


def _mode(answers: Mapping[str, Srvr | None], name: str) -> str:
    answer = answers.get(name)
    return answer.mode if answer else ""


def _problem(answer: Srvr | None, voters: int) -> str:
    """Why a configured voter does not count as serving; "" when it does."""
    if answer is None:
        return "ZooKeeper: not known, its host could not be asked"
    if not answer.answered:
        return f"ZooKeeper: {answer.error or 'gave no answer'}"
    if answer.mode == "standalone" and voters > 1:
        return f"ZooKeeper: runs alone (standalone), though the site has {voters} members"
    if answer.mode in ("leader", "follower", "standalone"):
        return ""
    return f"ZooKeeper: is {answer.mode or 'in no mode'}, not a voter"


def _why(voters: Sequence[str], serving: Sequence[str], leaders: Sequence[str], need: int) -> str:
    """What speaks against the quorum; "" when nothing does."""
    if len(leaders) > 1:
        return f"{' and '.join(leaders)} both say they lead"
    if len(serving) < need:
        down = [name for name in voters if name not in serving]
        return f"{len(serving)} of {len(voters)} voters serve, {need} are needed; down: {', '.join(down)}"
    return "" if leaders or not voters else "no member leads"


def _fine(voters: Sequence[str], serving: Sequence[str], leaders: Sequence[str]) -> str:
    if not voters:
        return "the site has no ensemble"
    return f"{len(serving)} of {len(voters)} voters serve, {leaders[0]} leads"
