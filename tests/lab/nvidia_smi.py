#!/usr/bin/python3
"""An nvidia-smi for lab machines: what dsdeploy and its roles ask, answered by the host's libnvidia-ml.so.1."""

import ctypes
import sys

MESSAGES = {
    9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    18: "Failed to initialize NVML: Driver/library version mismatch",
}


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def text(function, *words):
    out = ctypes.create_string_buffer(96)
    return out.value.decode() if function(*words, out, 96) == 0 else "[N/A]"


def told(nvml, index, field):
    gpu = ctypes.c_void_p()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(gpu)):
        return "[Unknown Error]"
    memory, major, minor = Memory(), ctypes.c_int(), ctypes.c_int()
    nvml.nvmlDeviceGetMemoryInfo(gpu, ctypes.byref(memory))
    nvml.nvmlDeviceGetCudaComputeCapability(gpu, ctypes.byref(major), ctypes.byref(minor))
    return {
        "index": str(index),
        "uuid": text(nvml.nvmlDeviceGetUUID, gpu),
        "name": text(nvml.nvmlDeviceGetName, gpu),
        "memory.total": str(memory.total >> 20),
        "memory.used": str(memory.used >> 20),
        "driver_version": text(nvml.nvmlSystemGetDriverVersion),
        "compute_cap": f"{major.value}.{minor.value}",
    }[field]


def main(argv):
    fields = next((one.split("=", 1)[1] for one in argv if one.startswith("--query-gpu=")), "")
    if not fields:
        return 2
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    code = nvml.nvmlInit_v2()
    if code:
        print(MESSAGES.get(code, f"Unable to begin: error {code}"))
        return code
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        print(", ".join(told(nvml, index, field) for field in fields.split(",")))
    if not count.value:
        print("No devices were found")
    return 0 if count.value else 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
