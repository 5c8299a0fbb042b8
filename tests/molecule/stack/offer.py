"""Makes a site's mirror for the scenario: `offer.py FOLDER URL` writes FOLDER/mirror and FOLDER/order.json.

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


def main(folder: Path, url: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    mirror = folder / "mirror"
    mirror.mkdir(parents=True)
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
    main(Path(sys.argv[1]), sys.argv[2])
