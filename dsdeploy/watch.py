"""The stage of `up` that has hosts measured; a site without the section `monitor` never gets here."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import monitoring
from dsdeploy.errors import DsdeployError

if TYPE_CHECKING:
    from dsdeploy.job import Job
    from dsdeploy.rollout.asked import Asked


def monitor(job: Job, asked: Asked) -> None:
    """Exporters everywhere, then those who read them."""
    if job.site.monitor is None:
        return
    password(monitoring.password_file(job.site), own=job.site.monitor.password_file is None)
    with job.step("monitor", "exporters, rules and alerts", past=True):
        job.run("monitor", job.limit or None)


def password(path: Path, own: bool) -> None:
    """There is one: the operator's file as it is, or ours, made once. There is no default password.

    Raises DsdeployError: the operator's is missing, too short, or others may read it.
    """
    try:
        if own and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        short = len(path.read_text(encoding="utf-8").strip()) < 12
        loose = path.stat().st_mode & 0o077
    except OSError as error:
        raise DsdeployError(
            f"the password of the monitoring cannot be read: {error.strerror}", str(path),
            f"openssl rand -base64 24 > {path}; chmod 600 {path}",
        ) from error  # fmt: skip
    if short:
        raise DsdeployError("the password of the monitoring is shorter than 12 characters", str(path),
                            f"openssl rand -base64 24 > {path}")  # fmt: skip
    if loose:
        raise DsdeployError("the password of the monitoring may be read by others", str(path), f"chmod 600 {path}")
