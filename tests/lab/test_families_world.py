"""What the lab of two families is made of, as far as it can be told without a machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dsdeploy.facts.os import OsFact
from dsdeploy.stacks import Host, matrix, place

from ..roles.stack import world
from ..roles.stack.conftest import Key, told
from . import dnf_image, families, gpu_world

ASK = """
import json, sys
from dsdeploy.stacks import Host, matrix
from dsdeploy.stacks.order import order
known = matrix()
for host in (Host("debian", "12"), Host("rocky", "9.6")):
    print(json.dumps(order(known, known.profiles[sys.argv[1]], host, sys.argv[2], nvswitch=True)))
"""


def test_the_stand_in_is_taken_for_enterprise_linux_9() -> None:
    system = OsFact().process([*dnf_image.OS_RELEASE.splitlines(), "_python=Python 3.11.2", "_glibc=glibc 2.36"])
    assert (system.id, system.family) == ("rocky", "redhat")
    found = place.distribution(matrix(), Host(system.id, system.version_id))
    assert found is not None and found.key == "el9"


def test_its_script_is_one_that_a_shell_can_read() -> None:
    done = subprocess.run(["sh", "-n"], input=dnf_image.SCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert "%{_var}/lib/rpm" in dnf_image.SCRIPT and dnf_image.tag("a") != dnf_image.tag("b")


def test_the_next_edition_orders_what_the_repositories_have_then(tmp_path: Path) -> None:
    url, key = "http://mirror/", Key(tmp_path / "gpg")
    copy = gpu_world.product(tmp_path / "product", key, *families.KEYS)
    now = [told(families.STACK, name, url, key) for name in ("debian12", "el9")]
    branches = families.Branches(str(now[0]["driver"]), str(world.next_branch(now[0])["driver"]))
    families.next_branch(copy, branches)
    words = [sys.executable, "-c", ASK, families.STACK, url]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=True)
    for before, line in zip(now, done.stdout.splitlines(), strict=True):
        after, wanted = json.loads(line), world.next_branch(before)
        assert after["driver"] == branches.after != before["driver"]
        for name in ("steps", "stream", "checks", "keys", "repositories"):
            assert after[name] == wanted[name], name
