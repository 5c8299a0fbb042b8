"""A model against GPU memory, with the arithmetic in the answer."""

from __future__ import annotations

from collections.abc import Sequence

from dsdeploy.stacks import gpus as names
from dsdeploy.stacks import versions
from dsdeploy.stacks.data import matrix as shipped
from dsdeploy.stacks.host import Gpu
from dsdeploy.stacks.models import Model, Precision
from dsdeploy.stacks.shapes import GpuModel, Matrix
from dsdeploy.stacks.verdict import Verdict

GIB = 2**30
MARGIN = 0.1  # of what an engine may take, for the cache of requests
COUNTS = (1, 2, 4, 8, 16, 32, 64)  # models are cut into powers of two


def fits(
    model: Model, precision: str, gpus: Sequence[Gpu], fraction: float = 0.9, matrix: Matrix | None = None
) -> tuple[Verdict, ...]:
    """Whether a model in a precision fits these GPUs, cut evenly over them.

    Args:
        fraction: share of each GPU's memory the engine may take; the rest is the runtime's own.

    The smallest GPU decides, as every one holds an equal part. A warning says that the weights fit
    but less is left than the publisher names for the cache of requests.
    """
    known = matrix or shipped()
    chosen = model.precisions.get(precision)
    if chosen is None:
        offered = ", ".join(model.precisions)
        return (Verdict("error", "precision", f"{model.name} is not known in {precision}", f"one of {offered}"),)
    if not gpus or not all(gpu.memory for gpu in gpus):
        return (Verdict("warn", "memory", f"{model.name}: the memory of the GPUs is not known"),)
    found = [*_arithmetic(known, model, chosen, gpus, fraction), _room(known, model, chosen, gpus, fraction)]
    return tuple(verdict for verdict in found if verdict)


def _arithmetic(
    matrix: Matrix, model: Model, precision: Precision, gpus: Sequence[Gpu], fraction: float
) -> list[Verdict]:
    """GPUs that have no arithmetic for the precision."""
    found = []
    for gpu in {gpu.name: gpu for gpu in gpus}.values():
        told = names.compute(matrix, gpu)
        if precision.compute and versions.older(told, precision.compute):
            why = f"{gpu.name} ({told}) has no {precision.name}: it needs compute capability {precision.compute}"
            found.append(Verdict("error", "precision", why, _nearest(matrix, model, precision, gpus, fraction)))
    return found


def _room(matrix: Matrix, model: Model, precision: Precision, gpus: Sequence[Gpu], fraction: float) -> Verdict | None:
    count, smallest = len(gpus), min(gpu.memory for gpu in gpus)
    usable = int(smallest * fraction)
    sums = (
        f"{_gb(precision.least)}{' (about)' if precision.about else ''} over {count} GPUs is "
        f"{precision.least / count / GIB:.1f} GiB each; {fraction:.0%} of {smallest / GIB:.1f} GiB is "
        f"{usable / GIB:.1f} GiB"
    ).replace("%", " %")
    if not precision.least:
        return Verdict("warn", "memory", f"what {model.name} in {precision.name} weighs is not known")
    if precision.least > usable * count:
        near = _nearest(matrix, model, precision, gpus, fraction)
        return Verdict("error", "memory", f"{model.name} in {precision.name} does not fit: {sums}", near)
    left = usable - precision.least / count
    if (precision.memory and smallest * count < precision.memory) or left < MARGIN * usable:
        return Verdict("warn", "memory", f"{model.name} in {precision.name} fits with little left for requests: {sums}")
    return Verdict("ok", "memory", f"{model.name} in {precision.name}: {sums}, {left / GIB:.1f} GiB left for requests")


def _nearest(matrix: Matrix, model: Model, wanted: Precision, gpus: Sequence[Gpu], fraction: float) -> str:
    """More of the same GPU, another precision on these, or as many of the smallest GPU that does."""
    smallest = min(gpus, key=lambda gpu: gpu.memory)
    told, count = names.compute(matrix, smallest), len(gpus)
    found = []
    if not versions.older(told, wanted.compute):
        found += [f"{more}x {smallest.name}" for more in COUNTS
                  if more > count and _holds(wanted, more, smallest.memory, fraction)][:1]  # fmt: skip
    found += [f"{count}x {smallest.name} in {other.name}" for other in model.precisions.values()
              if other is not wanted and not versions.older(told, other.compute)
              and _holds(other, count, smallest.memory, fraction)][:1]  # fmt: skip
    if bigger := _bigger(matrix, wanted, count, fraction):
        found.append(f"{count}x {bigger.name}")
    return " or ".join(found) or "no GPU of this matrix in any number up to 64"


def _bigger(matrix: Matrix, wanted: Precision, count: int, fraction: float) -> GpuModel | None:
    """The smallest known GPU of which the same number holds it with the publisher's room."""
    fitting = [
        entry
        for entry in matrix.gpus.values()
        if entry.memory
        and not versions.older(entry.compute, wanted.compute)
        and _holds(wanted, count, entry.memory * 2**20, fraction)
    ]
    return min(fitting, key=lambda entry: entry.memory, default=None)


def _holds(precision: Precision, count: int, memory: int, fraction: float) -> bool:
    """Whether it fits with room left, by our margin and by the publisher's figure."""
    usable = memory * fraction
    return 0 < precision.least / count <= (1 - MARGIN) * usable and memory * count >= precision.memory


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
