"""What an acceptance run must reach, from thresholds.yml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dsdeploy.stacks import shipped


@dataclass(frozen=True)
class Machine:
    """`write` in Gb/s of a port and `all_reduce` in GB/s on one host; 0 where nothing is known."""

    gpu: str
    count: int
    rate: int
    write: int
    all_reduce: int
    source: str


@dataclass(frozen=True)
class Figures:
    """Shares are of 1."""

    write: float
    pair: float
    outlier: float
    machines: tuple[Machine, ...]


@cache
def figures() -> Figures:
    """The shipped file. Raises ValueError, with the place in it, where its form is wrong."""
    top = shipped.read("fabric/thresholds.yml")
    top.text("reviewed")
    found = Figures(
        write=_share(top, "write"),
        pair=_share(top, "pair"),
        outlier=_share(top, "outlier"),
        machines=tuple(_machine(part) for part in top.rows("machines")),
    )
    top.done()
    return found


def _share(top: shipped.Part, key: str) -> float:
    part = top.part(key)
    share = float(part.text("share"))
    part.done()
    if not 0 < share <= 1:
        raise ValueError(f"{part.where('share')}: a share is over 0 and at most 1")
    return share


def _machine(part: shipped.Part) -> Machine:
    made = Machine(
        gpu=part.text("gpu"),
        count=part.count("count"),
        rate=part.count("rate"),
        write=part.count("write"),
        all_reduce=part.count("all_reduce"),
        source=part.text("source"),
    )
    part.done()
    return made


def machine(names: Sequence[str], rate: float = 0) -> Machine | None:
    """The entry for a host with GPUs of these names and ports of this rate; None for a mixed or unknown one."""
    if len(set(names)) != 1:
        return None
    for one in figures().machines:
        if one.gpu in names[0] and one.count == len(names) and one.rate in (0, int(rate)):
            return one
    return None


def write(rate: float, names: Sequence[str], asked: int = 0) -> float:
    """Gb/s that ib_write_bw must reach on a port: what the site file asks, what is known, or the rule."""
    known = machine(names, rate)
    if asked:
        return float(asked)
    return float(known.write) if known and known.write else figures().write * rate


def all_reduce(names: Sequence[str], rate: float, asked: int = 0) -> float | None:
    """GB/s (bus) of all_reduce on one host; None where nothing is known and nothing asked."""
    known = machine(names, rate)
    return float(asked) if asked else float(known.all_reduce) if known else None


def pair(rates: Sequence[Sequence[float]]) -> float:
    """GB/s (bus) of all_reduce between hosts whose ports have these rates (Gb/s): the slower host decides."""
    return figures().pair * min(sum(one) for one in rates) / 8
