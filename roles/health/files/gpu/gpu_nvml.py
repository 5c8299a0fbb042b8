"""What NVML says of each GPU. Every question may fail alone; what a GPU does not support is no error."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

try:
    import pynvml as nv
except ImportError:  # not installed beside this program
    nv = None

THROTTLES = {
    0x1: "idle", 0x2: "application clocks", 0x4: "power cap", 0x8: "hardware slowdown", 0x10: "sync boost",
    0x20: "software thermal", 0x40: "hardware thermal", 0x80: "power brake", 0x100: "display clocks",
    0x200: "board limit", 0x400: "reliability",
}  # fmt: skip
_LINKS = 18  # NVLinks of the largest GPU today; NVML itself allows 36
_NOT_THERE = (3, 13)  # not supported by this GPU, not known to this driver
_LOST, _RESET = 15, 16
STATES = {9: "no driver", 12: "no library", 18: "library and driver differ"}

Field = Dict[str, Any]


class Device:
    """One GPU: asks, and keeps apart what is not supported, what failed, and that it is lost."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.errors: Dict[str, str] = {}
        self.lost = self.reset = False

    def ask(self, name: str, question: Callable[..., Any], *words: Any) -> Any:
        """The answer, or None."""
        if self.lost:  # every further question would say the same, some of them after a timeout
            return None
        try:
            return question(self._handle, *words)
        except nv.NVMLError as error:
            self.lost = self.lost or error.value == _LOST
            self.reset = self.reset or error.value == _RESET
            if error.value not in _NOT_THERE:
                self.errors[name] = text(error)
            return None


def text(value: Any) -> str:
    """NVML's strings are bytes in some versions."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read() -> Field:
    """`state` is ok, or why there is nothing else: no library, no driver, library and driver differ, failed."""
    if nv is None:
        return {"state": "failed", "error": "the Python module pynvml is not installed beside this program"}
    try:
        nv.nvmlInit()
    except nv.NVMLError as error:
        return {"state": STATES.get(error.value, "failed"), "error": text(error)}
    try:
        return _all()
    except nv.NVMLError as error:
        return {"state": "failed", "error": text(error)}
    finally:
        try:
            nv.nvmlShutdown()
        except nv.NVMLError:
            pass


def _all() -> Field:
    gpus: List[Field] = []
    for index in range(nv.nvmlDeviceGetCount()):
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(index)
        except nv.NVMLError as error:
            gone = {"index": index, "lost": error.value == _LOST, "errors": {"handle": text(error)}}
            gpus.append({**_empty(), **gone})
            continue
        gpus.append(_gpu(index, Device(handle)))
    return {"state": "ok", "error": "", "driver": _host(nv.nvmlSystemGetDriverVersion), "cuda": _cuda(), "gpus": gpus}


def _host(question: Callable[[], Any]) -> str:
    try:
        return text(question())
    except nv.NVMLError:
        return ""


def _cuda() -> str:
    """`13.0`: the newest CUDA this driver serves."""
    said = _host(nv.nvmlSystemGetCudaDriverVersion)
    return f"{int(said) // 1000}.{int(said) % 1000 // 10}" if said.isdecimal() else ""


def _gpu(index: int, device: Device) -> Field:
    # in this order: who it is comes first, so that a GPU that is lost half way is still named
    uuid = device.ask("uuid", nv.nvmlDeviceGetUUID)
    pci = device.ask("bus", nv.nvmlDeviceGetPciInfo)
    name = device.ask("name", nv.nvmlDeviceGetName)
    found = {
        "index": index,
        "name": text(name) if name is not None else "",
        "uuid": text(uuid) if uuid is not None else "",
        "bus": _bus(pci),
        "compute": _compute(device.ask("compute", nv.nvmlDeviceGetCudaComputeCapability)),
        "memory": _memory(device),
        "utilisation": _utilisation(device),
        "temperature": device.ask("temperature", nv.nvmlDeviceGetTemperature, nv.NVML_TEMPERATURE_GPU),
        "power": _watts(device.ask("power", nv.nvmlDeviceGetPowerUsage)),
        "clocks": _clocks(device),
        "throttle": _throttle(device.ask("throttle", nv.nvmlDeviceGetCurrentClocksThrottleReasons)),
        "ecc": _ecc(device),
        "retired": _retired(device),
        "remapped": _remapped(device),
        "nvlink": _nvlink(device),
        "mig": _pair(device.ask("mig", nv.nvmlDeviceGetMigMode)),
        "processes": _processes(device),
    }
    return {**found, "lost": device.lost, "reset_required": device.reset, "errors": device.errors}


def _empty() -> Field:
    nothing = dict.fromkeys(("name", "uuid", "bus", "compute"), "")
    unknown = ("memory", "utilisation", "temperature", "power", "clocks", "throttle", "ecc", "retired", "remapped")
    return {
        **nothing,
        **dict.fromkeys(unknown),
        "nvlink": None,
        "mig": None,
        "processes": None,
        "reset_required": False,
    }


def _bus(pci: Any) -> str:
    """`0000:17:00.0`, as sysfs has it; NVML writes eight digits of domain."""
    if pci is None:
        return ""
    domain, _, rest = text(pci.busId).lower().partition(":")
    return f"{int(domain or '0', 16):04x}:{rest}"


def _compute(pair: Any) -> str:
    return f"{pair[0]}.{pair[1]}" if pair else ""


def _memory(device: Device) -> Optional[Field]:
    said = device.ask("memory", nv.nvmlDeviceGetMemoryInfo)
    return {"total": int(said.total), "used": int(said.used)} if said is not None else None


def _utilisation(device: Device) -> Optional[Field]:
    """Per cent of time in which a kernel ran, and in which memory was read or written."""
    said = device.ask("utilisation", nv.nvmlDeviceGetUtilizationRates)
    return {"gpu": int(said.gpu), "memory": int(said.memory)} if said is not None else None


def _watts(milliwatts: Optional[int]) -> Optional[float]:
    return None if milliwatts is None else milliwatts / 1000


def _clocks(device: Device) -> Field:
    """MHz."""
    kinds = {"sm": nv.NVML_CLOCK_SM, "memory": nv.NVML_CLOCK_MEM}
    now = {kind: device.ask(f"clock {kind}", nv.nvmlDeviceGetClockInfo, word) for kind, word in kinds.items()}
    return {**now, "sm_max": device.ask("clock sm_max", nv.nvmlDeviceGetMaxClockInfo, nv.NVML_CLOCK_SM)}


def _throttle(bits: Optional[int]) -> Optional[List[str]]:
    return None if bits is None else [reason for bit, reason in THROTTLES.items() if bits & bit]


def _ecc(device: Device) -> Optional[Field]:
    """Errors since the driver was loaded (volatile) and since the board was made (aggregate); None without ECC."""
    mode = device.ask("ecc mode", nv.nvmlDeviceGetEccMode)
    if mode is None:
        return None
    counters = {"volatile": nv.NVML_VOLATILE_ECC, "aggregate": nv.NVML_AGGREGATE_ECC}
    kinds = {"corrected": nv.NVML_MEMORY_ERROR_TYPE_CORRECTED, "uncorrected": nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED}
    errors = {
        since: {
            k: device.ask(f"ecc {since} {k}", nv.nvmlDeviceGetTotalEccErrors, kind, which) for k, kind in kinds.items()
        }
        for since, which in counters.items()
    }
    return {"enabled": bool(mode[0]), "after_reboot": bool(mode[1]), **errors}


def _retired(device: Device) -> Optional[Field]:
    """Pages given up on GPUs before Ampere."""
    causes = {"single_bit": nv.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
              "double_bit": nv.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR}  # fmt: skip
    pages = {
        cause: device.ask(f"retired {cause}", nv.nvmlDeviceGetRetiredPages, word) for cause, word in causes.items()
    }
    pending = device.ask("retired pending", nv.nvmlDeviceGetRetiredPagesPendingStatus)
    if pending is None and all(found is None for found in pages.values()):
        return None
    counts: Field = {cause: None if found is None else len(found) for cause, found in pages.items()}
    return {**counts, "pending": None if pending is None else bool(pending)}


def _remapped(device: Device) -> Optional[Field]:
    """Rows replaced by spare ones, Ampere and later."""
    rows = device.ask("remapped", nv.nvmlDeviceGetRemappedRows)
    if rows is None:
        return None
    return {"corrected": rows[0], "uncorrected": rows[1], "pending": bool(rows[2]), "failure": bool(rows[3])}


def _nvlink(device: Device) -> Optional[Field]:
    """Numbers of the links that are up and down; None where the GPU has none."""
    up: List[int] = []
    down: List[int] = []
    for link in range(_LINKS):
        try:
            state = nv.nvmlDeviceGetNvLinkState(device._handle, link) if not device.lost else None
        except nv.NVMLError as error:
            if error.value in (*_NOT_THERE, 2):  # 2: this GPU has fewer links
                break
            state = device.ask(f"nvlink {link}", nv.nvmlDeviceGetNvLinkState, link)
        if state is not None:
            (up if state else down).append(link)
    return {"up": up, "down": down} if up or down else None


def _pair(modes: Any) -> Optional[Field]:
    return None if modes is None else {"enabled": bool(modes[0]), "after_reset": bool(modes[1])}


def _processes(device: Device) -> Optional[List[Field]]:
    """Programs that compute; drivers before 510 know the older question only."""
    found = device.ask("processes", nv.nvmlDeviceGetComputeRunningProcesses_v3)
    if found is None and not device.lost and "processes" not in device.errors:
        found = device.ask("processes", nv.nvmlDeviceGetComputeRunningProcesses_v2)
    if found is None:
        return None
    return [
        {"pid": int(one.pid), "memory": None if one.usedGpuMemory is None else int(one.usedGpuMemory)} for one in found
    ]
