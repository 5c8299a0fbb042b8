"""What a lab machine with GPUs has below its operating system: a bus, a kernel that loads the driver, a start.

Machines of the lab are containers and share one kernel. So the parts of sysfs and procfs that tell of GPUs, of modules
and of the boot are folders of ours mounted over them, by a unit that runs before all others at every start: a machine
that was off comes back with another boot id, an empty memory, and the driver that is on its disk loaded, as a computer
does. `modinfo` and `modprobe` of the driver stand in front of the real ones; a module is what the driver's package
brought for it. What a container cannot show: firmware, the kernel's own shutdown, initramfs, a DKMS build, Secure Boot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dsdeploy.errors import LabError
from dsdeploy.lab import lifecycle

POLL_S = 0.2
BOOT = "/proc/sys/kernel/random/boot_id"
JOURNAL = """#!/bin/sh
# of the tests: what the kernel says stands in a file, all else is the journal's
case " $* " in *" -k "*) exec cat /srv/gpu/kernel.log ;; *) exec /usr/bin/journalctl "$@" ;; esac
"""
MODINFO = """#!/bin/sh
# of the tests: the driver's package has brought a module of its version, built for the kernel that runs
case " $* " in *" nvidia "*) ;; *) exec /usr/sbin/modinfo "$@" ;; esac
for made in /usr/src/nvidia*-[0-9]*/dkms.conf; do
  [ -f "$made" ] && made=${made%/*} && version=${made##*-}
done
[ -n "$version" ] || { echo "modinfo: ERROR: Module nvidia not found." >&2; exit 1; }
case " $* " in *" version "*) echo "$version" ;; esac
"""
MODPROBE = """#!/bin/sh
# of the tests: in memory is what was on the disk when it was loaded, until the machine goes off
[ "$1" = nvidia ] || exec /usr/sbin/modprobe "$@"
version=$(/usr/local/bin/modinfo -F version nvidia) || exit 1
[ -e /sys/module/nvidia/version ] && exit 0
if ! grep -qs 0x0302 /sys/bus/pci/devices/*/class; then
  echo "modprobe: ERROR: could not insert 'nvidia': No such device" >&2
  exit 1
fi
mkdir -p /srv/gpu/module/nvidia /srv/gpu/driver/nvidia
echo "$version" > /srv/gpu/module/nvidia/version
echo "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  $version  Release Build" > /srv/gpu/driver/nvidia/version
"""
START = f"""#!/bin/sh
# of the tests: what a start brings before any service
set -e
rm -rf /srv/gpu/module /srv/gpu/driver
mkdir -p /srv/gpu/bus /srv/gpu/module /srv/gpu/driver
cat /proc/sys/kernel/random/uuid > /srv/gpu/boot_id
mount --bind /srv/gpu/boot_id {BOOT}
mount --bind /srv/gpu/bus /sys/bus/pci/devices
mount --bind /srv/gpu/module /sys/module
mount --bind /srv/gpu/driver /proc/driver
/usr/local/bin/modprobe nvidia || true
"""
UNIT = """[Unit]
DefaultDependencies=no
Before=systemd-journald.service sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/gpu-start
[Install]
WantedBy=sysinit.target
"""
FILES = {
    "/usr/local/bin/journalctl": JOURNAL,
    "/usr/local/bin/modinfo": MODINFO,
    "/usr/local/bin/modprobe": MODPROBE,
    "/usr/local/sbin/gpu-start": START,
    "/etc/systemd/system/gpu-start.service": UNIT,
}


def bus(gpus: int, switches: int = 0) -> str:
    """Shell lines that put so many H200 and NVSwitches on a machine's bus, and take what was there away."""
    lines = ["set -e; mkdir -p /srv/gpu/bus; rm -rf /srv/gpu/bus/*"]
    devices = [(0x17 + i, "0x030200", "0x2335") for i in range(gpus)]
    devices += [(0xC0 + i, "0x068000", "0x22a3") for i in range(switches)]
    for number, kind, device in devices:
        place = f"/srv/gpu/bus/0000:{number:02x}:00.0"
        lines.append(f"mkdir -p {place}; cd {place}; echo 0x10de >vendor; echo {kind} >class; echo {device} >device")
    return "\n".join(lines)


def equip(gpus: int, switches: int = 0) -> str:
    """Shell lines that make a machine one that has these on its bus, and start it as such."""
    lines = [bus(gpus, switches), "touch /srv/gpu/kernel.log"]
    for path, text in FILES.items():
        mode = "644" if path.endswith(".service") else "755"
        lines.append(f"cat > {path} <<'END'\n{text}END\nchmod {mode} {path}")
    return "\n".join([*lines, "systemctl -q enable --now gpu-start"])


UNLOAD = "rm -rf /srv/gpu/module/nvidia /srv/gpu/driver/nvidia"


class Mains(threading.Thread):
    """Machines that went off are switched on again, as a computer is by its firmware when its system restarts."""

    def __init__(self, containers: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.containers, self.ended = containers, threading.Event()
        self.starts: list[str] = []
        self.lost: dict[str, str] = {}

    def run(self) -> None:
        podman = lifecycle.open_podman("podman", builds=False)
        while not self.ended.wait(POLL_S):
            for name in self.containers:
                try:
                    if podman.text("inspect", "--format", "{{.State.Status}}", name).strip() == "exited":
                        podman.text("start", name)
                        self.starts.append(name)
                    self.lost.pop(name, None)
                except LabError as error:  # what went off a moment ago may still be cleared away: asked again
                    self.lost[name] = error.what


@contextmanager
def mains(containers: Sequence[str]) -> Iterator[Mains]:
    """While this lasts a machine that restarts comes back. `starts` has the containers in the order they did."""
    on = Mains(containers)
    on.start()
    try:
        yield on
    finally:
        on.ended.set()
        on.join(30)
        assert not on.lost, on.lost
