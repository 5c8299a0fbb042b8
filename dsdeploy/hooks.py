"""The operator's own programs at fixed moments of an upgrade: `hooks/<name>` beside the site file.

    pre-upgrade   before anything is changed       pre-switch    before a batch takes requests
    post-switch   after a batch is proven          post-upgrade  after the end; its failure is only told

Each gets one JSON object on stdin. A hook that ends with another code than 0 says no, as a gate does.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from dsdeploy import output
from dsdeploy.errors import GateError
from dsdeploy.job import Job

NAMES = ("pre-upgrade", "pre-switch", "post-switch", "post-upgrade")
TIMEOUT_SECONDS = 600.0
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")  # of the environment; secrets have no business in a hook
TAIL = 15


def run(job: Job, name: str, **about: Any) -> None:
    """Run the hook if the operator has one. Raises GateError with its last words when it says no."""
    assert name in NAMES
    path = job.site.file.parent / "hooks" / name
    if not path.exists():
        return
    told = {"hook": name, "site": job.site.site, "run": job.record.id, "epoch": job.lock.epoch, **job.header, **about}
    asked = json.dumps(told, default=str, indent=2) + "\n"
    kept = job.record.folder / f"hook-{name}.json"
    kept.write_text(asked, encoding="utf-8")
    with output.step(f"hook {name}"):
        code, said = _call(path, asked)
    (job.record.folder / f"hook-{name}.log").write_text(said, encoding="utf-8")
    if code != 0:
        last = "\n".join(said.strip().splitlines()[-TAIL:])
        raise GateError(f"the hook {name} said no (exit {code})" + (f":\n{last}" if last else ""), str(path),
                        f"{path} < {kept} runs it by hand")  # fmt: skip


def _call(path: Path, told: str) -> tuple[int, str]:
    environment = {key: os.environ[key] for key in KEPT if key in os.environ}
    try:
        done = subprocess.run([str(path)], input=told, text=True, errors="replace", env=environment, cwd=path.parent,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS, check=False,
                              start_new_session=True)  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"it did not end within {TIMEOUT_SECONDS:.0f} s"
    except OSError as error:
        return 126, f"it cannot be started: {error.strerror}; chmod +x {path}"
    return done.returncode, done.stdout
