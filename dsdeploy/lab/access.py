"""The operator's way in: the key, the known host keys, the ssh line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dsdeploy.errors import LabError
from dsdeploy.site import Site


def public_key(identity: Path) -> str:
    """The public half of an identity, one line. Raises LabError where that takes a passphrase."""
    argv = ["ssh-keygen", "-y", "-P", "", "-f", str(identity)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"the identity cannot be used: {done.stderr.strip() or 'ssh-keygen failed'}",
            str(identity),
            "move the file away; the lab makes its own",
        )
    return " ".join(done.stdout.split()[:2])


def make_identity(identity: Path, comment: str) -> None:
    """A fresh ed25519 key without a passphrase, 0600, and its .pub."""
    identity.parent.mkdir(parents=True, exist_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(identity)]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise LabError(f"no key could be made: {done.stderr.strip()}", str(identity), f"ls -l {identity.parent}")


def merged(text: str, keys: Mapping[str, str]) -> str:
    """known_hosts with these addresses' keys (`type base64`) and everybody else's lines left as they are."""
    ours = [f"{address} {key}\n" for address, key in keys.items()]
    return without(text, keys) + "".join(ours)


def without(text: str, addresses: Iterable[str]) -> str:
    """known_hosts without the lines of these addresses."""
    gone = set(addresses)
    return "".join(f"{line}\n" for line in text.splitlines() if line.split(" ", 1)[0] not in gone)


def write(path: Path, text: str) -> bool:
    """Put a known_hosts file in place whole; False when it says so already."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        fresh.write_text(text)
        fresh.chmod(0o600)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return True


def ssh_argv(site: Site, host: str, command: Sequence[str]) -> list[str]:
    """ssh to a machine of the lab, by its key and its known host key only."""
    if host not in site.hosts:
        raise no_such_host(site, host)
    return [
        "ssh", "-F", "none", "-i", str(site.ssh.identity), "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={site.ssh.known_hosts}",
        "-o", "LogLevel=ERROR", "-p", str(site.ssh.port),
        f"{site.ssh.user}@{site.hosts[host].address}", *command,
    ]  # fmt: skip


def no_such_host(site: Site, host: str) -> LabError:
    return LabError(f"the site has no host {host}", str(site.file), f"one of: {', '.join(site.hosts)}")
