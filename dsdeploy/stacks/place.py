"""Where a host stands in the matrix, and which packages it would get."""

from __future__ import annotations

from collections.abc import Mapping

from dsdeploy.stacks import gpus, versions
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.shapes import Branch, Distribution, Driver, Install, Matrix, Profile


def distribution(matrix: Matrix, host: Host) -> Distribution | None:
    """The distribution a host runs, among those offered."""
    return _among(matrix.distributions, host)


def elsewhere(matrix: Matrix, host: Host) -> Distribution | None:
    """The same among those that are known and not offered."""
    return _among(matrix.elsewhere, host)


def _among(table: Mapping[str, Distribution], host: Host) -> Distribution | None:
    """`9.4` is version 9 and `10` is not version 1: numbers are compared, and only as many as the table has."""
    numbers = versions.parse(host.version)
    for one in table.values():
        wanted = versions.parse(one.version)
        if host.id in one.ids and numbers[: len(wanted)] == wanted:
            return one
    return None


def install(matrix: Matrix, profile: Profile, host: Host) -> Install | None:
    """The packages of a profile on this host's distribution; None where the distribution is not offered."""
    place = distribution(matrix, host)
    return profile.installs.get(place.key) if place else None


def flavours(matrix: Matrix, host: Host) -> tuple[str, ...]:
    """Kernel module flavours that drive every GPU of the host, the better one first."""
    left = ["open", "proprietary"]
    for gpu in host.gpus:
        generation = gpus.architecture(matrix, gpu)
        if generation:
            left = [flavour for flavour in left if flavour in generation.modules]
    for device in host.devices if not host.gpus else ():
        left = [flavour for flavour in left if flavour in bus_flavours(device)]
    return tuple(left)


# Device numbers rise with generations: Turing begins at 1e02 (older ones end with 1dff), Blackwell at 2901.
# (from the PCI ID list, from memory; a GPU that answers nvidia-smi is judged by its name instead)
_GENERATIONS = ((0x2900, ("open",)), (0x1E00, ("open", "proprietary")), (0, ("proprietary",)))


def bus_flavours(device: int) -> tuple[str, ...]:
    """Kernel module flavours that drive a GPU of this device number."""
    return next(flavours for first, flavours in _GENERATIONS if device >= first)


def flavour(matrix: Matrix, driver: Driver, host: Host) -> str:
    """The flavour to install from a set of packages, "" where none of them drives all GPUs of the host."""
    return next((one for one in flavours(matrix, host) if one in driver.flavours), "")


def branch(matrix: Matrix, driver: str) -> Branch | None:
    return matrix.branches.get(versions.series(driver, 1))


def nvlink5(matrix: Matrix, host: Host) -> bool:
    """Whether the host's switches are reached through InfiniBand devices (HGX B200 and B300); where no driver tells
    the GPUs' names, by their numbers on the bus."""
    if not host.gpus:
        return any(entry.nvlink5 and set(entry.devices) & set(host.devices) for entry in matrix.gpus.values())
    return any((entry := gpus.model(matrix, gpu.name)) is not None and entry.nvlink5 for gpu in host.gpus)
