"""What is true on a host: each fact is one shell command and one pure parser.

Ask with the value's own class and get that class back::

    reading = hosts.read(site, Memory, Srvr)["gpu1"]
    reading.get(Memory)  # Memory | None

Commands are plain POSIX shell (bash only for /dev/tcp), need no Python on the host, change nothing
there, and print little. Parsers never raise on what a host may print: what cannot be read is None,
empty or "unknown", and whoever decides counts unknown as down. Importing this package loads pyinfra
(about half a second): command modules import it inside their function.
"""

from __future__ import annotations

from dsdeploy.facts.bus import BusGpus
from dsdeploy.facts.clock import Clock
from dsdeploy.facts.disk import Disk, Disks
from dsdeploy.facts.driver_module import DriverModule
from dsdeploy.facts.engine import AnsweringEngines, Engines, EngineState
from dsdeploy.facts.engine_log import EngineLog
from dsdeploy.facts.epoch import Epoch
from dsdeploy.facts.fabric import Device, Fabric
from dsdeploy.facts.fabric_gpus import GpuHealth, GpuHealths
from dsdeploy.facts.fabric_port import Gid
from dsdeploy.facts.fabric_topology import GpuTopology
from dsdeploy.facts.fact import Fact, reader
from dsdeploy.facts.footprint import Footprint
from dsdeploy.facts.gpu_report import GpuProblem, GpuReport
from dsdeploy.facts.gpus import Gpu, Gpus
from dsdeploy.facts.health import HealthState
from dsdeploy.facts.host_log import HostLog
from dsdeploy.facts.hugepages import Hugepages
from dsdeploy.facts.ib_counters import PortCounters
from dsdeploy.facts.ib_devinfo import IbDevinfo
from dsdeploy.facts.ib_stat import IbStat
from dsdeploy.facts.installed import Installed
from dsdeploy.facts.interpreter import Interpreter
from dsdeploy.facts.kept import Kept
from dsdeploy.facts.measured import Measured
from dsdeploy.facts.memory import Memory
from dsdeploy.facts.nvswitch import NvSwitch
from dsdeploy.facts.ofed import Ofed
from dsdeploy.facts.os import Os
from dsdeploy.facts.packages import PackageLock
from dsdeploy.facts.packet_filter import PacketFilter
from dsdeploy.facts.ports import Port, Ports
from dsdeploy.facts.releases import ReleaseFiles, Releases
from dsdeploy.facts.rotation import Rotation, RotationServer
from dsdeploy.facts.router import RouterServer, RouterState
from dsdeploy.facts.runs import HostRun, Runs
from dsdeploy.facts.secure_boot import SecureBoot
from dsdeploy.facts.site import SiteId
from dsdeploy.facts.stack_state import StackState
from dsdeploy.facts.tensorrt import TensorRt
from dsdeploy.facts.thp import Thp
from dsdeploy.facts.unknown_models import UnknownModels
from dsdeploy.facts.weights import Stamp, Weights
from dsdeploy.facts.xid import GpuLog, Xid
from dsdeploy.facts.zookeeper import Srvr

__all__ = [
    "AnsweringEngines",
    "BusGpus",
    "Clock",
    "Device",
    "Disk",
    "Disks",
    "DriverModule",
    "EngineLog",
    "EngineState",
    "Engines",
    "Epoch",
    "Fabric",
    "Fact",
    "Footprint",
    "Gid",
    "Gpu",
    "GpuHealth",
    "GpuHealths",
    "GpuLog",
    "GpuProblem",
    "GpuReport",
    "GpuTopology",
    "Gpus",
    "HealthState",
    "HostLog",
    "HostRun",
    "Hugepages",
    "IbDevinfo",
    "IbStat",
    "Installed",
    "Interpreter",
    "Kept",
    "Measured",
    "Memory",
    "NvSwitch",
    "Ofed",
    "Os",
    "PackageLock",
    "PacketFilter",
    "Port",
    "PortCounters",
    "Ports",
    "ReleaseFiles",
    "Releases",
    "Rotation",
    "RotationServer",
    "RouterServer",
    "RouterState",
    "Runs",
    "SecureBoot",
    "SiteId",
    "Srvr",
    "StackState",
    "Stamp",
    "TensorRt",
    "Thp",
    "UnknownModels",
    "Weights",
    "Xid",
    "reader",
]
