"""What of a stack is on a host: which order was carried out there, the driver's files, and which boot this is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_VERSION = r"([0-9]{3}(?:\.[0-9]{1,3}){1,2})"
_LINES = {
    "library": re.compile(rf"library \S*libnvidia-ml\.so\.{_VERSION}", re.ASCII),
    "built": re.compile(rf"built {_VERSION}", re.ASCII),
    "boot": re.compile(r"boot ([0-9a-f-]{36})", re.ASCII),
    "order": re.compile(r'stamp .*"order": "([0-9a-f]{16})"', re.ASCII),
    "packages": re.compile(r'stamp .*"packages": "([0-9a-f]{16})"', re.ASCII),
    "nouveau": re.compile(r"(nouveau)"),
    "runfile": re.compile(r"(runfile)"),
    "signer": re.compile(r"signer (.{1,200})"),
    "own_key": re.compile(r"(own key)"),
}


@dataclass(frozen=True)
class StackState:
    """`order` is the digest of the order that was carried out last, `packages` that of the part of it that changes
    packages; `library` and `built` are the driver's versions by its library and by its kernel module on disk. `signer`
    is who signed that module, `own_key` whether with the key this host signs its own modules with. `runfile`: the
    driver came from NVIDIA's .run file. Empty text where there is none."""

    order: str = ""
    library: str = ""
    built: str = ""
    boot: str = ""
    nouveau: bool = False
    packages: str = ""
    runfile: bool = False
    signer: str = ""
    own_key: bool = False


class StackStateFact(Fact[StackState]):
    """nvidia-smi cannot tell the installed version once library and module differ: the file's name can."""

    value = StackState

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return """
PATH=$PATH:/sbin:/usr/sbin
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
f=/var/lib/dsdeploy/stack.json; [ -r $f ] && echo "stamp $(head -c 1000 $f)"
for f in $(ldconfig -p 2>/dev/null | sed -n 's/.*libnvidia-ml\\.so\\.1 .*=> //p'); do
  echo "library $(readlink -f "$f")"
done
echo "built $(modinfo -F version nvidia 2>/dev/null)"
signer=$(modinfo -F signer nvidia 2>/dev/null)
# a certificate holds its name as it is written; DKMS has its key in the one place, Ubuntu in the other
for f in /var/lib/dkms/mok.pub /var/lib/shim-signed/mok/MOK.der; do
  [ -n "$signer" ] && [ -r $f ] && grep -aqF -- "$signer" $f && echo "own key"
done
echo "signer $signer"
[ -e /usr/bin/nvidia-uninstall ] && echo runfile
[ -d /sys/module/nouveau ] && echo nouveau
exit 0
"""

    def process(self, output: list[str]) -> StackState:
        found = dict.fromkeys(_LINES, "")
        for line in output:
            for name, pattern in _LINES.items():
                if not found[name] and (told := pattern.match(line[:2000].strip())):
                    found[name] = told[1]
        return StackState(
            found["order"], found["library"], found["built"], found["boot"], bool(found["nouveau"]), found["packages"],
            bool(found["runfile"]), found["signer"].strip(), bool(found["own_key"]),
        )  # fmt: skip
