"""What the operator's site.yml says, as frozen models that refuse unknown keys.

Once loaded, durations are seconds, sizes are bytes, and paths on the operator's
own disk are absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, PrivateAttr

from dsdeploy.site.fabric import Fabric
from dsdeploy.site.guarding import Firewall
from dsdeploy.site.health import Health
from dsdeploy.site.keeping import Backup, Logs
from dsdeploy.site.packages import Packages
from dsdeploy.site.section import Section
from dsdeploy.site.serving import Engine
from dsdeploy.site.values import (
    Duration,
    Flag,
    HostAddress,
    Identifier,
    IpAddress,
    LocalPath,
    MemberId,
    OpenPort,
    Port,
    Sha512,
    SiteName,
    Size,
    Source,
    Url,
    UserName,
    Whole,
)  # fmt: skip
from dsdeploy.site.watching import Monitor

Role = Literal["engine", "router", "zookeeper", "monitor"]
Stack = Literal["cpu", "legacy-cuda11.6", "cuda12.2", "cuda12.8", "cuda13"]
Colour = Literal["blue", "green"]


class Member(NamedTuple):
    """One configured ZooKeeper server: its number (myid), the host it runs on, that host's address."""

    id: int
    host: str
    address: str


class Ssh(Section):
    """How hosts are reached."""

    user: UserName = Field("root", description="Login user; one other than root needs passwordless sudo.")
    port: Port = Field(22, description="SSH port of every host.")
    identity: LocalPath | None = Field(
        None,
        description="Private key file, relative to the site file; without it ssh chooses, agent included.",
    )
    known_hosts: LocalPath | None = Field(
        None,
        description="Host keys to accept, relative to the site file; without it the user's own known_hosts.",
    )
    connect_timeout: Duration = Field(10.0, ge=1, le=300, description="How long one connection may take.")


class Host(Section):
    """One machine."""

    address: HostAddress = Field(description="IPv4 or IPv6 address, or host name, as the others reach it.")
    roles: tuple[Role, ...] = Field(min_length=1, description="What runs there.")
    zookeeper_id: MemberId | None = Field(
        None,
        description="Number (myid) of this member; without it members are numbered in file order. "
        "Fix it before a host is inserted above: a running member must keep its number.",
    )  # fmt: skip


class HostSettings(Section):
    """Kernel and limits of every host."""

    transparent_hugepages: Literal["never", "madvise", "always"] = Field(
        "never", description="Transparent huge pages; never avoids stalls of memory compaction."
    )
    hugepages_2mb: Whole = Field(
        0,
        ge=0,
        le=16_777_216,
        description="Reserved 2 MiB pages (51200 is 100 GiB); 0 leaves the host as it is.",
    )
    swappiness: Whole = Field(10, ge=0, le=200, description="vm.swappiness.")
    nofile: Whole = Field(1_048_576, ge=1024, le=1_073_741_816, description="Open files a service may have.")
    time_sync: Flag = Field(True, description="Make sure that a time service runs.")
    require_kernel_settings: Flag = Field(
        False, description="Fail, instead of skip, where the kernel's settings are read-only (containers)."
    )


class Model(Section):
    """The weights to serve."""

    name: Identifier = Field(description="Name that clients send in `model`.")
    version: Identifier = Field(description="Version of the weights; a folder of its own on each host.")
    source: Source = Field(
        description="Folder of the files and their MD5SUMS: an http(s) URL ending in /, or a path on hosts."
    )


class ZooKeeper(Section):
    """The ensemble that holds the lock and the registry of releases."""

    source: Literal["package", "tarball"] = Field("package", description="The distribution's, or Apache's.")
    tarball_url: Url | None = Field(None, description="Where Apache's tarball lies; with source: tarball.")
    tarball_sha512: Sha512 | None = Field(None, description="Its SHA-512; with source: tarball.")
    client_port: OpenPort = Field(2181, description="Port for clients.")
    peer_port: OpenPort = Field(2888, description="Port members follow the leader on.")
    election_port: OpenPort = Field(3888, description="Port members elect the leader on.")
    heap: Size = Field(512 * 2**20, ge=32 * 2**20, le=64 * 2**30, description="Java heap.")


class RateLimit(Section):
    """What one client address may ask for."""

    requests_per_second: Whole = Field(100, ge=1, le=1_000_000, description="Sustained requests a second.")
    burst: Whole = Field(200, ge=1, le=1_000_000, description="Requests beyond that at once.")


class Router(Section):
    """The way in for clients."""

    port: Port = Field(8000, description="Port clients connect to.")
    vip: IpAddress | None = Field(None, description="Address shared by the routers (VRRP, unicast).")
    failover: Duration = Field(
        0.5, ge=0.5, le=30,
        description="How long a router or an engine may be silent before another takes its place; longer where "
        "hosts are virtual machines that have to wait for their processors.",
    )  # fmt: skip
    rate_limit: RateLimit = Field(RateLimit(), description="What one client address may ask for.")
    max_body: Size = Field(2**20, ge=1024, le=2**30, description="Largest request body.")


class Rollout(Section):
    """How a new release replaces the one that serves."""

    strategy: Literal["auto", "side-by-side", "in-turn"] = Field(
        "auto", description="side-by-side needs memory for two releases on a host; auto asks the hosts."
    )
    canary: Whole = Field(1, ge=1, le=1000, description="Hosts in the first batch.")
    soak: Duration = Field(10.0, ge=0, description="How long a batch is watched before the next.")
    drain: Duration = Field(300.0, ge=0, description="How long requests of the old release may still take.")
    release: Identifier | None = Field(
        None,
        description="Id of the release, once given never of another one; without it made of the model's "
        "version and a digest of all that the release is made of.",
    )


class Site(Section):
    """A site: its machines, what they serve, and how it is changed."""

    site: SiteName = Field(description="Name of the site; hosts remember it and refuse another's.")
    ssh: Ssh = Field(Ssh(), description="How hosts are reached.")
    stack: Stack = Field(description="Driver and CUDA versions, as a tested set; cpu needs none.")
    hosts: dict[Identifier, Host] = Field(
        min_length=1, max_length=1000, description="The machines, by name.",
        json_schema_extra={"additionalProperties": False},
    )  # fmt: skip
    host: HostSettings = Field(HostSettings(), description="Kernel and limits of every host.")
    packages: Packages = Field(Packages(), description="Where hosts get the packages of their stack from.")
    model: Model = Field(description="The weights to serve.")
    engine: Engine = Field(Engine(), description="The server that computes tokens.")
    zookeeper: ZooKeeper = Field(ZooKeeper(), description="The ensemble: lock and registry.")
    router: Router = Field(Router(), description="The way in for clients.")
    rollout: Rollout = Field(Rollout(), description="How a new release replaces the one that serves.")
    fabric: Fabric | None = Field(None, description="RDMA between the engine hosts; default: none is looked at.")
    health: Health | None = Field(None, description="The timer that looks at engines and GPUs; without it, none.")
    firewall: Firewall | None = Field(None, description="Who may reach the hosts; without it nothing is filtered.")
    backup: Backup | None = Field(None, description="What hosts keep of themselves; without it, nothing.")
    logs: Logs | None = Field(None, description="How much logs may take; without it, the system's own rules.")
    monitor: Monitor | None = Field(None, description="What is measured and who is told; without it nothing is.")

    _file: Path = PrivateAttr(default=Path("site.yml"))

    @property
    def file(self) -> Path:
        """The file this site was loaded from, absolute."""
        return self._file

    def with_role(self, role: Role) -> tuple[str, ...]:
        """Names of the hosts that have a role, in file order."""
        return tuple(name for name, host in self.hosts.items() if role in host.roles)

    @property
    def members(self) -> tuple[Member, ...]:
        """The ensemble as configured; without a zookeeper_id, the free numbers from 1 in file order."""
        names = self.with_role("zookeeper")
        fixed = {self.hosts[name].zookeeper_id for name in names}
        free = (number for number in range(1, len(names) + 256) if number not in fixed)
        return tuple(
            Member(self.hosts[name].zookeeper_id or next(free), name, self.hosts[name].address) for name in names
        )
