"""The site file's section about RDMA between GPU hosts. Without it nothing about fabrics is done or asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from dsdeploy.site import scalars
from dsdeploy.site.section import Section
from dsdeploy.site.values import Flag, Url, Whole

_DEVICE = r"[A-Za-z][A-Za-z0-9_]*"
_INTERFACE = r"[A-Za-z][A-Za-z0-9_.-]*"
_FINGERPRINT = r"[0-9A-F]{40}"


def _word(pattern: str, meaning: str, limit: int) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": limit}
    return BeforeValidator(scalars.matching(pattern, meaning, limit)), WithJsonSchema(schema)


_device = _word(_DEVICE, "an RDMA device (ibv_devices lists them)", 63)
_interface = _word(_INTERFACE, "a network interface (ip link lists them)", 15)
_fingerprint = _word(_FINGERPRINT, "a key's fingerprint: 40 hex digits, upper case, no blanks", 40)

Device = Annotated[str, _device[0], _device[1]]
Interface = Annotated[str, _interface[0], _interface[1]]
Fingerprint = Annotated[str, _fingerprint[0], _fingerprint[1]]


class Ofed(Section):
    """NVIDIA's drivers (DOCA-OFED) from a repository the site can reach, instead of the distribution's rdma-core."""

    repository: Url = Field(description="Folder of the repository: apt's flat or rpm's, as doca-host lays it out.")
    key: Url = Field(description="Where the key lies that signs it.")
    fingerprint: Fingerprint = Field(description="Fingerprint of that key: 40 hex digits; another key is refused.")


class Fabric(Section):
    """RDMA between the engine hosts: what must be there, and what may carry NCCL."""

    link: Literal["auto", "infiniband", "roce"] = Field(
        "auto", description="What the ports must speak; auto takes what most of a host's fast ports speak."
    )
    rate: Whole = Field(
        0, ge=0, le=6400, description="Gb/s each used port must run at; 0 takes a host's fastest ports as they are."
    )
    ports: Whole = Field(0, ge=0, le=64, description="Ports each engine host must have in use; 0 asks for one.")
    devices: tuple[Device, ...] = Field(
        (), max_length=64, description="RDMA devices NCCL may use; none named: all hardware of the fastest rate."
    )
    exclude: tuple[Device, ...] = Field(
        (), max_length=64, description="RDMA devices NCCL must leave alone: storage, management."
    )
    interface: Interface | None = Field(
        None, description="Network interface of NCCL's sockets; default: the one that has the host's address."
    )
    ofed: Ofed | None = Field(None, description="DOCA-OFED from a mirror; default: the distribution's rdma-core.")
    peer_memory: Flag = Field(True, description="Load nvidia-peermem where the kernel offers no DMA-BUF for it.")
    write_gbits: Whole = Field(
        0, ge=0, le=6400, description="Gb/s ib_write_bw must reach on a port; 0: by the port's rate and the GPU."
    )
    all_reduce_gbytes: Whole = Field(
        0, ge=0, le=10_000, description="GB/s (bus) all_reduce must reach on one host; 0: by GPU, where it is known."
    )
