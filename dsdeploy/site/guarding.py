"""The section `firewall` of a site file: who may reach the hosts. Without it nothing is filtered."""

from __future__ import annotations

from pydantic import Field

from dsdeploy.site.section import Section
from dsdeploy.site.values import NetworkRange


class Firewall(Section):
    """A packet filter on every host: the site and these networks reach all, everybody else the router's port."""

    allow: tuple[NetworkRange, ...] = Field(
        min_length=1,
        max_length=256,
        description="Networks that may reach every port of the hosts: yours, those of who watches and backs up.",
    )
