"""The section `health` of a site file."""

from __future__ import annotations

from pydantic import Field

from dsdeploy.site.section import Section
from dsdeploy.site.values import Duration, Flag, Whole


class Health(Section):
    """What looks at each engine host on a timer, and helps once. Without this section nothing does."""

    enabled: Flag = Field(True, description="Whether the timer runs; false stops the one that was set up.")
    interval: Duration = Field(30.0, ge=5, le=3600, description="From one look to the next.")
    deadline: Duration = Field(20.0, ge=1, le=600, description="Longest time for a completion of one token.")
    strikes: Whole = Field(2, ge=1, le=100, description="Bad looks in a row before anything is done.")
    window: Duration = Field(3600.0, ge=0, description="Wedged again within it, an engine is taken out.")
    stall: Duration = Field(120.0, ge=1, description="A start that gets nothing done for so long is dead.")
    min_serving: Whole | None = Field(
        None,
        ge=0,
        le=1000,
        description="Engine hosts that must go on serving when one is restarted or taken out; default: all but one.",
    )
    gpus: Whole | None = Field(
        None,
        ge=0,
        le=64,
        description="GPUs every engine host must have; without it the bus is compared with the driver.",
    )
