"""The sections `backup` and `logs` of a site file. A site without them has neither, and no play is added for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from dsdeploy.site import places, scalars
from dsdeploy.site.section import Section
from dsdeploy.site.values import Duration, Flag, LocalPath, Size, Whole

CALENDAR = r"(?=.*[A-Za-z0-9])[A-Za-z0-9*][A-Za-z0-9*:,/.~ -]*"
OFFSITE = r"(?:sftp://(?:[a-z_][a-z0-9_-]*@)?[A-Za-z0-9.-]+(?::[0-9]{1,5})?|s3:https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|)/[A-Za-z0-9_.@+=/-]+"


def _calendar(value: object) -> str:
    return scalars.matching(CALENDAR, "a time of systemd's, as in *-*-* 02:30", 60)(value)


def _offsite(value: object) -> str | None:
    if value is None:
        return None
    text = scalars.matching(OFFSITE, "sftp://user@host/path, s3:https://host/bucket/path or an absolute path", 1024)(
        value
    )
    if ".." in text.split("/"):
        scalars.wrong("'..' is never followed", "write the path out")
    return text.rstrip("/")


def _folder(value: object) -> str:
    text = places.plain_path(value)
    if not text.startswith("/") or text.rstrip("/") == "":
        scalars.wrong("a path on the hosts is absolute", "as in /var/backups/dsdeploy")
    return text.rstrip("/")


Calendar = Annotated[
    str, BeforeValidator(_calendar), WithJsonSchema({"type": "string", "pattern": f"^{CALENDAR}$", "maxLength": 60})
]
Offsite = Annotated[
    str | None, BeforeValidator(_offsite), WithJsonSchema({"type": ["string", "null"], "maxLength": 1024})
]
Folder = Annotated[str, BeforeValidator(_folder), WithJsonSchema({"type": "string", "pattern": f"^{places.PATH}$"})]


class Backup(Section):
    """What hosts keep of themselves, and where."""

    password_file: LocalPath = Field(
        description="File with the password, relative to the site file; each host gets one made from it."
    )
    path: Folder = Field("/var/backups/dsdeploy", description="Folder of the repository on each host.")
    offsite: Offsite = Field(
        None, description="The copy elsewhere: sftp://user@host/path, s3:https://host/bucket/path or a mounted path."
    )
    offsite_secret: LocalPath | None = Field(
        None, description="What opens it: a private key, or for S3 a file of AWS credentials."
    )
    offsite_known_hosts: LocalPath | None = Field(None, description="Host keys of an SFTP server.")
    append_only: Flag = Field(False, description="The server lets nothing be removed, and no host tries.")
    keep: Whole = Field(14, ge=1, le=1000, description="Good snapshots that are kept on the host.")
    keep_full: Whole = Field(5, ge=1, le=1000, description="Good full ones that are kept beyond that.")
    full_every: Whole = Field(7, ge=1, le=100, description="Every so many is a full one.")
    when: Calendar = Field("*-*-* 02:30:00", description="When, in systemd's words (OnCalendar).")
    jitter: Duration = Field(3600.0, ge=0, description="Hosts begin at a random moment within this.")
    rehearse: Calendar = Field("monthly", description="When a restore is rehearsed (OnCalendar).")
    verify: Calendar = Field("*-*-* 04:30:00", description="When a seventh of weights and builds is read again.")


class Logs(Section):
    """How much the hosts' logs may take, and how many runs' this computer's."""

    when: Calendar = Field("hourly", description="When it is looked at, in systemd's words (OnCalendar).")
    file_size: Size = Field(
        50 * 2**20, ge=2**12, le=2**40, description="A log this large, or a quarter of the total, is rotated at once."
    )
    keep: Whole = Field(14, ge=1, le=365, description="Old logs that are kept of each.")
    total: Size = Field(2**30, ge=2**16, le=2**44, description="What all of them together may take; the oldest go.")
    journal: Size = Field(2**30, ge=2**23, le=2**44, description="What systemd's journal may take.")
    runs: Whole = Field(50, ge=5, le=10_000, description="Runs whose logs and journals this computer keeps.")
