"""What is shown while weights are pulled."""

from __future__ import annotations

from typing import Any

from dsdeploy import progress
from dsdeploy.facts import Stamp, Weights
from dsdeploy.hosts import Reading
from dsdeploy.site import Site


def reading(host: str, told: dict[str, Any] | None) -> Reading:
    stamp = Stamp("deepseek-tiny", "v1", "", 0, "", None, 1, told)
    return Reading(host, True, values={Weights: Weights({"deepseek-tiny/v1": stamp})})


def test_bytes_rate_and_time_left_are_shown_for_each_host_that_pulls(lab_site: Site) -> None:
    told = {"phase": "pull", "bytes_done": 2**30, "bytes_total": 4 * 2**30, "rate": 2**20 * 10}
    shown = progress.line(lab_site, {"gpu1": reading("gpu1", told), "gpu2": reading("gpu2", None)})
    assert shown == "gpu1 pull 25% of 4.0 GiB at 10.0 MiB/s, 5 min left"


def test_nonsense_from_a_host_is_not_shown(lab_site: Site) -> None:
    assert progress.line(lab_site, {"gpu1": reading("gpu1", {"bytes_total": "x", "bytes_done": -1})}) == ""
    assert progress.line(lab_site, {"gpu1": Reading("gpu1", False)}) == ""
