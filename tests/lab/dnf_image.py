"""A stand-in for a Rocky Linux 9 machine: Debian 12's userland with Debian's own dnf and rpm as its package manager.

A Rocky image comes from a registry that not every computer reaches; this one is made of the lab's own image. Real are
dnf 4 with libdnf, libsolv and modules, rpm 4.18 with a database at EL 9's place, versionlock, systemd, sshd, Python.
apt and dpkg are gone, os-release and redhat-release say Rocky, so that Ansible and our facts take it for family redhat.

What a Rocky machine does otherwise, and tests on this one do not see:
- glibc is 2.36, Python 3.11, gcc's libraries newer (EL 9: 2.34, 3.9, 11): wheels for EL 9's Python are not tried.
- The rpm database is empty: nothing depends on the system's packages, `dnf upgrade` has only ours to move, and there
  is no kernel package, so no kmod is built, no dracut runs, and an upgrade of the kernel is never offered.
- No SELinux, no crypto policies (EL 9 refuses SHA-1 signatures), no subscription-manager, no firewalld.
- /etc/dnf/protected.d names packages that are not there; rpm's file triggers (ldconfig, systemd's reload) are missing,
  so packages with libraries run ldconfig themselves.
- The versionlock plugin is Debian's file, moved to SHELF: a package of the name it has on EL 9 brings it back. The
  plugin `local`, which EL 9 has in a package of its own, is gone. libgomp is there from the start, as wherever
  Python's rpm module is, so an engine asks dnf for nothing.
- The unit of sshd is called ssh, and Debian's multiarch folders are where the libraries are.
"""

from __future__ import annotations

from dsdeploy import paths
from dsdeploy.lab import image, lifecycle, recipe, record
from dsdeploy.lab.image import Step

from ..roles.stack.rpms import CONF

SHELF = "/usr/share/stand-in"
PACKAGES = ("dnf", "rpm", "python3-dnf", "python3-libdnf", "dnf-plugins-core")
PLUGINS = "/usr/lib/python3/dist-packages/dnf-plugins"

OS_RELEASE = """\
NAME="Rocky Linux"
VERSION="9.6 (stand-in: Debian userland)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.6"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.6 (stand-in: Debian userland)"
"""

SCRIPT = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends {" ".join(PACKAGES)}
mkdir -p {SHELF}
mv {PLUGINS}/versionlock.py {SHELF}/
rm -rf {PLUGINS}/local.py {PLUGINS}/__pycache__ /etc/dnf/plugins/local.conf /etc/dnf/plugins/versionlock.*

rm -f /etc/debian_version /etc/os-release
cat > /usr/lib/os-release <<'END'
{OS_RELEASE}END
ln -s ../usr/lib/os-release /etc/os-release
echo 'Rocky Linux release 9.6 (Blue Onyx)' > /etc/redhat-release
ln -s redhat-release /etc/rocky-release
ln -s redhat-release /etc/system-release

cat > /etc/dnf/dnf.conf <<'END'
{CONF}END
mkdir -p /etc/rpm /etc/yum.repos.d /etc/pki/rpm-gpg
rm -f /etc/yum.repos.d/*
echo '%_dbpath %{{_var}}/lib/rpm' > /etc/rpm/macros
rm -rf /root/.rpmdb /var/lib/rpm
rpm --initdb
ln -sf dnf-3 /usr/bin/yum
echo /usr/lib64 > /etc/ld.so.conf.d/lib64.conf

rm -f /etc/systemd/system/timers.target.wants/dpkg-* /usr/lib/systemd/system/dpkg-*
rm -rf /etc/apt /etc/dpkg /usr/lib/apt /usr/lib/dpkg /var/lib/apt /var/lib/dpkg /var/cache/apt /var/log/apt
rm -rf /usr/lib/python3/dist-packages/apt /usr/lib/python3/dist-packages/apt_* /usr/lib/python3/dist-packages/aptsources
rm -f /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg /usr/bin/dpkg-* /var/log/dpkg.log
ldconfig
"""


def tag(base: str) -> str:
    return f"localhost/dsdeploy-lab-dnf:{recipe.digest(base, SCRIPT)}"


def make(step: Step) -> str:
    """The image's name; built on the lab's own one where it is not there yet."""
    podman, cache = lifecycle.open_podman("podman", builds=True), paths.cache_dir("lab")
    with record.alone(cache, step):
        base = image.host_image(podman, "", cache, step)
        if not podman.ok("image", "inspect", tag(base)):
            with step("image of the dnf host, once on this computer"):
                image.extend(podman, base, tag(base), SCRIPT)
    return tag(base)
