"""What serves is what routers do: read from colours and rotations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dsdeploy.errors import DsdeployError
from dsdeploy.hosts import Reading
from dsdeploy.releases.view import view
from dsdeploy.rollout import moves
from dsdeploy.site import Site

from .conftest import NEW, OLD

World = Callable[..., dict[str, Reading]]
BOTH = {"gw1": {"gpu1": "blue", "gpu2": "blue"}, "gw2": {"gpu1": "blue", "gpu2": "blue"}}
SIDE = {"gpu1": {"blue": OLD, "green": NEW}, "gpu2": {"blue": OLD, "green": NEW}}


def test_an_idle_release_is_not_what_serves(lab_site: Site, world: World) -> None:
    seen = view(lab_site, world(SIDE, BOTH))
    assert seen.serving == OLD and seen.pending(NEW) == ("gpu1", "gpu2") and seen.needs(NEW)
    assert not seen.needs(OLD) and seen.pending(OLD) == ()


def test_a_batch_switched_on_one_router_only_is_still_pending(lab_site: Site, world: World) -> None:
    half = {**BOTH, "gw1": {"gpu1": "green", "gpu2": "blue"}}
    seen = view(lab_site, world(SIDE, half))
    assert seen.releases == {OLD, NEW} and seen.serving == ""
    assert seen.pending(NEW) == ("gpu1", "gpu2") and seen.pending(OLD) == ("gpu1",)


def test_a_host_out_of_rotation_serves_nothing(lab_site: Site, world: World) -> None:
    seen = view(lab_site, world(SIDE, {"gw1": {"gpu2": "blue"}, "gw2": {"gpu2": "blue"}}))
    assert not seen.hosts["gpu1"].releases and seen.pending(OLD) == ("gpu1",) and seen.serving == OLD


def test_a_router_that_says_nothing_is_silent_and_no_router_needs_no_loop(lab_site: Site, world: World) -> None:
    seen = view(lab_site, world(SIDE, {"gw1": BOTH["gw1"]}))
    assert seen.routers == ("gw1",) and seen.silent == ("gw2",)
    assert not view(lab_site, world(SIDE, {})).needs(NEW)


@pytest.mark.parametrize(
    ("places", "active", "colour"),
    [
        ({"blue": OLD}, "blue", "green"),
        ({"green": OLD}, "green", "blue"),
        ({"blue": OLD, "green": f"!{NEW}"}, "blue", "green"),  # where it is already
        ({"blue": OLD, "green": "v0-2"}, "blue", "green"),  # in place of what nobody asks
        ({"blue": "v0-2", "green": OLD}, "green", "blue"),
    ],
)
def test_the_new_release_never_takes_the_place_of_the_one_that_serves(
    lab_site: Site, world: World, places: dict[str, str], active: str, colour: str
) -> None:
    seen = view(lab_site, world({"gpu1": places}, {"gw1": {"gpu1": active}, "gw2": {"gpu1": active}}))
    assert seen.hosts["gpu1"].place(NEW) == colour


def test_with_both_colours_in_rotation_there_is_no_place(lab_site: Site, world: World) -> None:
    readings = world({"gpu1": {"blue": OLD, "green": "v0-2"}}, {"gw1": {"gpu1": "blue"}, "gw2": {"gpu1": "green"}})
    with pytest.raises(DsdeployError, match="both colours of gpu1"):
        view(lab_site, readings).hosts["gpu1"].place(NEW)


def test_what_is_left_over_is_what_runs_another_release(lab_site: Site, world: World) -> None:
    places = {"gpu1": {"blue": OLD, "green": NEW}, "gpu2": {"blue": f"!{OLD}", "green": NEW}}
    green = {router: dict.fromkeys(active, "green") for router, active in BOTH.items()}
    assert moves.idle(view(lab_site, world(places, BOTH)), NEW) == {}, "what takes requests is not idle"
    assert moves.idle(view(lab_site, world(places, green)), NEW) == {"gpu1": "blue"}
