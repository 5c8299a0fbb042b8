"""What Python has decided, as values: about the site, and about one play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Decisions:
    """What Python decided after reading the hosts; what is not decided yet stays out of the inventory.

    Args:
        release: id of the release this run brings up.
        weights_digest, build_key: ``sha256:…`` of the weights, key of the build.
        settings: the release's settings, written into it as they are.
        wheelhouse: folder of wheels on this computer; stands above the site file's.
        colours: host -> the colour this release runs in there.
        active: host -> the colour routers send requests to there.
        releases: host -> colour -> id of the release in that place.
        stacks: host -> what the stack role is told there.
        environment: host -> variables its engines get beside their address: what NCCL may use there.
        pythons: host -> the Python of its engine's runtime, where that is not the one Ansible uses.
    """

    release: str = ""
    weights_digest: str = ""
    build_key: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    wheelhouse: Path | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    active: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pythons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What belongs to one play and not to the site: who gives it, what is recorded, what routers are told.

    Args:
        epoch, run: of the run that gives it; hosts refuse a lower epoch. An empty run is nobody's: not fenced.
        header, record: what a host's own journal gets: the run's first line, and this play's.
        wishes: host -> colour that takes its requests, or none.
        names: server (host-colour) -> the release it runs.
        parked: servers to put away; with `cut` the requests they still answer are ended.
        interpreters: host -> the Python there, where it is not the usual one.
        words: what the backup program on the hosts is asked to do.
    """

    epoch: int = 0
    run: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    wishes: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    parked: tuple[str, ...] = ()
    cut: bool = False
    interpreters: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
