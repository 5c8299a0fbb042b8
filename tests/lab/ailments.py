"""All faults that doctor is shown, in phases: those of one phase do not cover each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ailing_engines import Engines, Memory
from .ailing_hosts import Hosts
from .ailing_weights import Source, Weights
from .clinic import Ailment
from .conftest import Lab
from .terminal import Operator


def phases(lab: Lab, operator: Operator) -> Iterator[Sequence[Ailment]]:
    """Within a phase in the order in which they are mended: a run is refused while a host cannot be read or changed."""
    hosts, weights, engines = Hosts(lab, operator), Weights(lab, operator), Engines(lab, operator)
    yield [hosts.host_key(), hosts.login(), hosts.disk(), hosts.inodes(), hosts.clock(), hosts.package_lock()]
    yield [hosts.stranger(), hosts.haproxy(), weights.damaged(), weights.cut(), hosts.member_without_room()]
    yield [engines.slow(), weights.stray()]
    yield [hosts.certificate()]
    yield [engines.build()]
    yield [engines.broken()]
    yield [engines.dead()]
    yield [Memory(lab, operator).refused()]
    yield [Memory(lab, operator).ungiven()]
    source = Source(lab, operator)
    yield [source.ended(), source.flipped(), source.foreign()]
