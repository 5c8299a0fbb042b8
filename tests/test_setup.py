"""scripts/setup.sh with an apt of our own: which packages it asks for."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "setup.sh"
# as long as a real one, so that whoever stops reading at the candidate breaks the pipe
POLICY = """#!/bin/sh
echo "$2:"
echo "  Installed: (none)"
if [ "$2" = netavark ]; then echo "  Candidate: (none)"; else echo "  Candidate: 1.0-1"; fi
yes "        500 the/archive main Packages" | head -c 300000
"""


@pytest.fixture
def asked(tmp_path: Path) -> str:
    """What `apt-get install` was given, on a machine that has none of the packages but a whole .venv."""
    tree, programs = tmp_path / "tree", tmp_path / "bin"
    (tree / "scripts").mkdir(parents=True)
    (tree / ".venv" / "bin").mkdir(parents=True)
    programs.mkdir()
    (tree / "scripts" / "setup.sh").write_text(SCRIPT.read_text())
    (tree / "pyproject.toml").write_text("")
    (tree / ".venv" / ".setup").write_text(f"{hashlib.sha256().hexdigest()} {tree}\n")
    for path, text in (
        (tree / ".venv" / "bin" / "python", "#!/bin/sh\n"),
        (programs / "dpkg-query", "#!/bin/sh\nexit 1\n"),
        (programs / "apt-get", f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'),
        (programs / "sudo", '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n'),
        (programs / "apt-cache", POLICY),
    ):
        path.write_text(text)
        path.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(["bash", str(tree / "scripts" / "setup.sh")], env={**os.environ, "PATH": path},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left out:") == 1 and "left out: netavark: not in this release" in done.stdout
    return (tmp_path / "asked").read_text()


def test_every_package_of_this_release_is_asked_for_and_an_unknown_one_is_named(asked: str) -> None:
    update, install = asked.splitlines()
    assert update.endswith(" update")
    words = install.split()
    assert {"podman", "haproxy", "mmdebstrap"} <= set(words) and "netavark" not in words
