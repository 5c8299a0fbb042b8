"""Images, built once and cached under a digest of their recipe."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dsdeploy.errors import LabError
from dsdeploy.lab import recipe
from dsdeploy.lab.podman import Podman

Step = Callable[[str], AbstractContextManager[Callable[[str], None]]]
INIT = 'CMD ["/sbin/init"]'


def host_image(podman: Podman, named: str, cache: Path, step: Step) -> str:
    """The image of the site's hosts: `named` (fetched if absent) or our own. Returns what identifies it."""
    if named:
        return _named(podman, named, step)
    tag = recipe.host_tag()
    if not podman.ok("image", "inspect", tag):
        with step("image of Debian packages, once on this computer (about a minute)"):
            _build(podman, tag, cache)
    return tag


def chosen(words: Sequence[str], hosts: Collection[str]) -> dict[str, str]:
    """Images that were named, as `IMAGE` or `HOST=IMAGE`: host -> image, "" -> the one of every other machine.

    Raises LabError for a host that the site has not, and for one that is named twice.
    """
    found: dict[str, str] = {}
    for word in words:
        host, equals, name = word.rpartition("=")  # no reference to an image has one
        if not name or (equals and host not in hosts):
            raise LabError(f"{word} names no image for a host of the site", "--image",
                           f"IMAGE, or HOST=IMAGE with one of: {', '.join(hosts)}")  # fmt: skip
        if host in found:
            raise LabError(f"two images for {host or 'all machines'}: {found[host]} and {name}", "--image", "name one")
        found[host] = name
    return found


def mirror_image(podman: Podman, base: str, step: Step) -> str:
    """The mirror's image: `base` and nginx."""
    tag = recipe.mirror_tag(base)
    if not podman.ok("image", "inspect", tag):
        with step("image of the weights mirror, once on this computer"):
            extend(podman, base, tag, recipe.MIRROR_SCRIPT, recipe.NGINX)
    return tag


def _named(podman: Podman, named: str, step: Step) -> str:
    if not podman.ok("image", "inspect", named):
        with step(f"image {named}"):
            podman.text("pull", "-q", named)
    return podman.text("image", "inspect", "--format", "{{.Id}}", named).strip()


def _build(podman: Podman, tag: str, cache: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="image-", dir=cache) as folder:
        overlay, tarball = Path(folder, "overlay.tar"), Path(folder, "root.tar")
        overlay.write_bytes(recipe.overlay())
        # mmdebstrap unpacks in TMPDIR, and /tmp is often too small or noexec
        done = subprocess.run(
            recipe.bootstrap(str(tarball), str(overlay)),
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": folder, "LC_ALL": "C"},
            check=False,
        )
        if done.returncode != 0:
            raise build_failure(done.stderr)
        podman.text("import", "--change", INIT, str(tarball), tag)


def build_failure(log: str) -> LabError:
    """mmdebstrap's first complaint is the cause; what follows is its consequences."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    signs = ("E:", "Err:", "error", "unable", "failed")
    first = next((line for line in lines if line.lower().startswith(tuple(sign.lower() for sign in signs))), "")
    unreachable = any(sign in log for sign in ("Could not resolve", "Could not connect", "Temporary failure"))
    hint = (
        "this computer does not reach Debian's package mirror: check name resolution and http_proxy"
        if unreachable
        else "dsdeploy lab up --image IMAGE uses an image of your own (systemd, sshd, python3)"
    )
    return LabError(
        f"mmdebstrap could not build the image: {first or (lines or ['no output'])[-1]}",
        "this computer",
        hint,
    )


def extend(podman: Podman, base: str, tag: str, script: str, stdin: str = "") -> None:
    """An image made of `base` by a shell script, which reads `stdin`. Raises LabError with its last line."""
    name = f"dsdeploy-build-{secrets.token_hex(4)}"
    # the host's network: name resolution and proxies are this computer's own
    argv = ["run", "-i", "--name", name, "--network", "host", *podman.ulimits, base, "/bin/sh", "-c", script]
    try:
        podman.text(*argv, stdin=stdin)
        podman.text("commit", "--change", INIT, name, tag)
    finally:
        podman.ok("rm", "-f", name)
