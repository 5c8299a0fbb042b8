"""Hosts: keys, logins, disks, clocks, package managers, HAProxy, certificates, a member without room."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial

from .clinic import Ailment, Do, Follow, Found, Ward, as_printed
from .conftest import PROMPT
from .terminal import Operator

STATE, ZOOKEEPER = "/var/lib/dsdeploy", "/var/lib/zookeeper"
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=lab"
HOLDER = (
    "import fcntl, time; lock = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); "
    "time.sleep(900)"
)
# A clock of its own for all that runs there by SSH (libfaketime; machines of the lab share their kernel's), and a time
# service that sets it: timedatectl is the real one, and finds the service where packages name theirs.
CLOCK = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -q -y install --no-install-recommends libfaketime
echo +3600 > /run/lab-clock
cat > /etc/systemd/system/lab-ntp.service <<'END'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo +0 > /run/lab-clock'
[Install]
WantedBy=multi-user.target
END
mkdir -p /etc/systemd/ntp-units.d && echo lab-ntp.service > /etc/systemd/ntp-units.d/00-lab.list
systemctl daemon-reload; systemctl stop lab-ntp systemd-timedated
library=$(ls /usr/lib/*/faketime/libfaketime.so.1)
echo "SetEnv LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=/run/lab-clock FAKETIME_NO_CACHE=1" \
  "FAKETIME_DONT_FAKE_MONOTONIC=1" > /etc/ssh/sshd_config.d/lab-clock.conf
systemctl reload ssh
"""
NO_CLOCK = """
rm -f /etc/ssh/sshd_config.d/lab-clock.conf; systemctl reload ssh
systemctl disable --now lab-ntp 2>/dev/null; systemctl stop systemd-timedated
rm -f /etc/systemd/system/lab-ntp.service /etc/systemd/ntp-units.d/00-lab.list; systemctl daemon-reload
"""


def mounted(folder: str, options: str, fill: str) -> str:
    """Shell lines that put a small file system of its own under a folder, with all that was in it, and fill it."""
    return (
        f"mkdir -p /run/lab{folder} && cp -a {folder}/. /run/lab{folder}/ && "
        f"mount -t tmpfs -o {options} tmpfs {folder} && "
        f"{{ cp -a /run/lab{folder}/. {folder}/ || {{ umount {folder}; false; }}; }} && "
        f"chown --reference=/run/lab{folder} {folder} && chmod --reference=/run/lab{folder} {folder} && "
        f"rm -r /run/lab{folder} && cd {folder} && {fill}"
    )


class Hosts(Ward):
    """Faults of machines and of what runs on them beside engines."""

    def host_key(self) -> Ailment:
        again = "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"

        def compared(operator: Operator, found: Found) -> None:
            """What the line prints is what the machine's own console says."""
            console = operator.at_console("gw1", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
            assert "/etc/ssh/ssh_host_ed25519_key.pub" in found["cause"]
            assert console in operator.type(found["command"]).text

        return Ailment("another host key", "host-key", "gw1", "shows another host key",
                       self.on("gw1", f"{again}; systemctl reload ssh"), compared)  # fmt: skip

    def login(self) -> Ailment:
        start = partial(self.operator.at_console, "gw2", "systemctl start ssh")

        def told_and_mended(operator: Operator, found: Found) -> None:
            """The line says what stands in the way; it is mended at the console; then the same line goes through."""
            said = operator.type(found["command"])
            assert said.code == 255 and "Connection refused" in said.text, said
            start()
            assert operator.type(found["command"]).code == 0

        return Ailment("SSH refused", "login", "gw2", "Connection refused",
                       self.on("gw2", "systemctl stop ssh"), told_and_mended, start)  # fmt: skip

    def disk(self) -> Ailment:
        fill = "fallocate -l 590M forgotten.img"
        return Ailment("disk full", "disk", "gpu2", f"^{STATE} of gpu2 has [0-9]+ MiB left",
                       self.on("gpu2", mounted(STATE, "size=600M", fill)), self.largest("gpu2"),
                       self.unmounted("gpu2"))  # fmt: skip

    def inodes(self) -> Ailment:
        fill = "mkdir forgotten && cd forgotten && (seq 6000 | xargs touch 2>/dev/null; true)"
        return Ailment("inodes used up", "disk", "gpu1", f"^{STATE} of gpu1 has [0-9]+ inodes left",
                       self.on("gpu1", mounted(STATE, "size=600M,nr_inodes=6000", fill)), self.largest("gpu1"),
                       self.unmounted("gpu1"))  # fmt: skip

    def largest(self, host: str) -> Follow:
        """The line shows what takes the room; a person knows that nobody needs it."""

        def removed(operator: Operator, found: Found) -> None:
            shown = [line.split()[-1] for line in operator.type(found["command"]).lines]
            most = next(path for path in reversed(shown) if path != STATE)
            assert "forgotten" in most, shown
            self.lab.tell(host, f"rm -r {most}")

        return removed

    def unmounted(self, host: str) -> Do:
        return self.on(host, f"! mountpoint -q {STATE} || umount {STATE} || umount -l {STATE}")

    def clock(self) -> Ailment:
        def set_right(operator: Operator, found: Found) -> None:
            assert "dsdeploy check" in found["command"]
            operator.type(found["command"])  # the check after it still finds what the phase has beside this
            assert self.lab.tell("gpu1", "systemctl is-enabled lab-ntp; cat /run/lab-clock").split() == [
                "enabled",
                "+0",
            ]

        return Ailment("clock an hour ahead", "clock", "gpu1", "3(59|60)[0-9] s ahead",
                       self.on("gpu1", CLOCK), set_right, self.on("gpu1", NO_CLOCK, check=False))  # fmt: skip

    def package_lock(self) -> Ailment:
        hold = f'systemd-run --quiet --unit lab-dpkg python3 -c "{HOLDER}"'
        end = self.on("gw2", "systemctl stop lab-dpkg", check=False)

        def waited(operator: Operator, found: Found) -> None:
            late = operator.meanwhile(5, end)
            said = operator.type(found["command"])
            late.join()
            assert said.code == 0, said

        return Ailment("package manager busy", "package-lock", "gw2", "in use by python3",
                       self.on("gw2", hold), waited, end)  # fmt: skip

    def stranger(self) -> Ailment:
        """llama.cpp would answer to any name; the router lets none through that is not the site's."""

        def make() -> None:
            for _ in range(3):
                assert self.lab.ask(body=PROMPT | {"model": "gpt-4"})[0] == 404

        def named(operator: Operator, found: Found) -> None:
            """The line has the name that clients have to send."""
            name = json.loads(operator.type(found["command"]).lines[-1])["data"][0]["id"]
            assert self.lab.ask(body=PROMPT | {"model": name})[0] == 200

        return Ailment("a request for another model", "model", "gw1", "models that are not served: gpt-4",
                       make, named, forgotten=True)  # fmt: skip

    def haproxy(self) -> Ailment:
        typo = r"sed -i '/^frontend api/a\    bnid 10.0.0.1:1' /etc/haproxy/haproxy.cfg"
        return Ailment("HAProxy's file edited by hand", "haproxy", "gw2", "haproxy.cfg:[0-9]+.*unknown keyword 'bnid'",
                       self.on("gw2", typo))  # fmt: skip

    def certificate(self) -> Ailment:
        there, new = "/etc/dsdeploy/tls", self.operator.folder / "lab.pem"
        made = (
            f"mkdir -p {there} && cd {there} && openssl req -new {KEY} -keyout /root/lab.key -out /root/lab.csr && "
            "openssl x509 -req -in /root/lab.csr -signkey /root/lab.key -days -1 -out lab.pem"
        )

        def renewed(operator: Operator, found: Found) -> None:
            assert "lab.pem in this folder is to be the new one" in found["cause"]
            words = f"req -x509 {KEY} -days 9 -keyout k -out {new}"
            subprocess.run(["openssl", *words.split()], cwd=operator.folder, check=True, capture_output=True)
            as_printed(operator, found)
            assert self.lab.tell("gw2", f"cat {there}/lab.pem") == new.read_text()

        return Ailment("certificate ended", "certificate", "gw2", rf"{there}/lab.pem of gw2 ended 1\.0 days ago",
                       self.on("gw2", made), renewed, self.on("gw2", f"rm -rf {there} /root/lab.*"))  # fmt: skip

    def member_without_room(self) -> Ailment:
        size = f"size=$(($(du -sm --apparent-size {ZOOKEEPER} | cut -f1) + 64))M"  # its logs are as old as the lab
        fill = "(dd if=/dev/zero of=forgotten.img bs=64k 2>/dev/null; true) && systemctl start zookeeper"

        def emptied(operator: Operator, found: Found) -> None:
            shown = operator.type(found["command"])
            assert re.search(rf"100% +{ZOOKEEPER}", shown.text), shown.text
            self.lab.tell("gpu2", f"rm {ZOOKEEPER}/forgotten.img")
            self.lab.up("--only", "ensemble")

        def put_back() -> None:
            back = f"cp -a {ZOOKEEPER}/. /run/lab-back/ && umount {ZOOKEEPER} && cp -a /run/lab-back/. {ZOOKEEPER}/"
            move = f"systemctl stop zookeeper && mkdir -p /run/lab-back && {back} && rm -r /run/lab-back"
            self.lab.tell("gpu2", f"! mountpoint -q {ZOOKEEPER} || {{ {move} && systemctl start zookeeper; }}")

        return Ailment("no room under a ZooKeeper member", "disk", "gpu2", "^a disk is full",
                       self.on("gpu2", f"systemctl stop zookeeper && {mounted(ZOOKEEPER, size, fill)}"),
                       emptied, put_back)  # fmt: skip
