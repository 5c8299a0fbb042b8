"""The site file: read with the place of every value, checked, and every problem told at once.

model        the frozen models, and what each field means
values       the types of those fields: scalars (text, numbers, durations), places (addresses, paths)
checks       whether the parts fit together: machines, settings
complaints   findings in the operator's words

``load`` is the one way in; nothing here reaches a host.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from dsdeploy import document
from dsdeploy.errors import SiteError
from dsdeploy.site import checks, complaints
from dsdeploy.site.model import Colour, Host, Member, Role, Site, Stack

__all__ = ["Colour", "Host", "Member", "Role", "Site", "Stack", "load"]


def load(path: Path | str) -> Site:
    """Read a site file.

    Raises:
        SiteError: with every problem found, each at ``file:line:column``; nothing else escapes.
    """
    path = Path(path)
    source = document.read(path)
    try:
        site = Site.model_validate(source.data, context={"base": path.absolute().parent})
        found = checks.problems(site, source)
    except ValidationError as error:
        found = complaints.problems(error, source, Site) + checks.partial(error, source, Site)
    found = complaints.ordered(source.problems + found)
    if found:
        raise SiteError(found, f"{path}: {len(found)} problems" if len(found) > 1 else "")
    site._file = path.absolute()
    return site
