"""The site file's section `packages`."""

from __future__ import annotations

from pydantic import Field

from dsdeploy.site.section import Section
from dsdeploy.site.values import Flag, Url


class Packages(Section):
    """Where hosts get the packages of their stack from."""

    managed: Flag = Field(True, description="false: hosts bring driver and CUDA of their own, which are only judged.")
    mirror: Url | None = Field(
        None,
        description="Base URL, ending in /, below which every repository of the stack lies by its own host and path; "
        "without it the makers' servers.",
    )
