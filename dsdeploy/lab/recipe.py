"""What a lab machine is made of: bare Debian with systemd and sshd. Data, and its digest."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "ca-certificates",
    "iproute2", "iputils-ping", "netbase", "procps", "curl",
)  # fmt: skip
MIRROR_PACKAGE = "nginx-light"

# Machines share this computer's kernel: nothing in them may load modules, name devices, claim terminals or
# set kernel values that nobody asked for. apt's own timers would hold the package lock at random.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
    "console-getty.service", "getty.target", "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer",
)  # fmt: skip
SYSCTL_DEFAULTS = ("50-default.conf", "50-pid-max.conf", "99-protect-links.conf")

FILES = {
    # host keys are made on the first start, so that no two machines have the same
    "etc/systemd/system/ssh.service.d/10-lab.conf": (
        "[Service]\n"
        "ExecStartPre=\n"
        "ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || "
        'ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key\'\n'
        "ExecStartPre=/usr/sbin/sshd -t\n"
    ),
    "etc/ssh/sshd_config.d/10-lab.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\n",
    "etc/systemd/journald.conf.d/10-lab.conf": "[Journal]\nReadKMsg=no\n",
    "etc/apt/apt.conf.d/90lab": 'Acquire::Languages "none";\n',
    "etc/dpkg/dpkg.cfg.d/90lab": "force-unsafe-io\n",
}

NGINX = """\
server {
    listen 80 default_server;
    root /srv/mirror;
    default_type application/octet-stream;
    autoindex on;
}
"""
MIRROR_SCRIPT = (
    "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get -q update; "
    f"apt-get -q install -y --no-install-recommends {MIRROR_PACKAGE}; apt-get clean; "
    "cat > /etc/nginx/sites-available/default"
)


def links() -> dict[str, str]:
    """Symbolic links of the image: path -> target."""
    masks = {f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED}
    return masks | {f"etc/sysctl.d/{name}": "/dev/null" for name in SYSCTL_DEFAULTS}


def overlay() -> bytes:
    """A tar of everything laid over the packages, owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in FILES.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
        for name, target in links().items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return out.getvalue()


def bootstrap(tarball: str, overlay_tar: str) -> list[str]:
    """argv that builds the file system into `tarball`; mmdebstrap's own default mirror is used."""
    cleanup = 'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1/etc/machine-id"; rm -f "$1/var/lib/dbus/machine-id"'
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        f"--customize-hook=tar-in {overlay_tar} /",
        f"--customize-hook={cleanup}",
        SUITE,
        tarball,
    ]


def digest(*parts: str) -> str:
    """Twelve hex digits that change when anything of the recipe does."""
    text = json.dumps([SUITE, PACKAGES, FILES, links(), bootstrap("", ""), *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def host_tag() -> str:
    return f"localhost/dsdeploy-lab:{digest()}"


def mirror_tag(base: str) -> str:
    """The mirror's image, on top of `base` (a tag of ours, or the id of the user's own image)."""
    return f"localhost/dsdeploy-lab-mirror:{digest(base, NGINX, MIRROR_SCRIPT)}"
