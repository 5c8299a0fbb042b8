"""Makes a site's mirror for the scenario: `offer.py FOLDER MIRROR URL` writes FOLDER/order.json and what MIRROR serves.

The order is dsdeploy's own for stack cuda13 on Debian 12, for a host with NVSwitch. What differs from a fleet: the
key, which is made here, and what a container has not: kernel headers, an early userland, units of empty packages.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.roles.stack import world
from tests.roles.stack.conftest import Key, told
from tests.roles.stack.debs import repository


def main(folder: Path, mirror: Path, url: str) -> None:
    for old in (folder, mirror):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    key = Key(folder / "gpg")
    order = told("cuda13", "debian12", url, key)
    for one in order["repositories"]:
        packages = [*world.offered(order), *world.compilers(order)]
        repository(mirror / one["url"].removeprefix(url), packages, key.words)
    for one in order["keys"]:
        (mirror / one["url"].removeprefix(url)).write_text(key.public)
    shutil.rmtree(folder / "gpg")
    variables = {f"stack_{name}": value for name, value in order.items()}
    variables |= {"stack_kernel_headers": False, "stack_services": []}
    (folder / "order.json").write_text(json.dumps(variables))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
