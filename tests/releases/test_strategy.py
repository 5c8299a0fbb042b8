"""Side by side where memory allows, else in turn; one host alone needs a word of the operator's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dsdeploy import plan
from dsdeploy.hosts import Reading
from dsdeploy.releases import strategy
from dsdeploy.releases.view import view
from dsdeploy.site import Site

from .conftest import GIB, NEW, OLD

World = Callable[..., dict[str, Reading]]
PLACES = {"gpu1": {"blue": OLD}, "gpu2": {"blue": OLD}}
ROUTERS = {"gw1": {"gpu1": "blue", "gpu2": "blue"}, "gw2": {"gpu1": "blue", "gpu2": "blue"}}


def changed(site: Site, **rollout: object) -> Site:
    return site.model_copy(update={"rollout": site.rollout.model_copy(update=rollout)})


def choose(site: Site, readings: dict[str, Reading], allow: bool = False) -> strategy.Strategy:
    return strategy.choose(site, readings, view(site, readings), NEW, allow)


def test_memory_for_two_means_side_by_side_and_no_host_is_given_up(lab_site: Site, world: World) -> None:
    chosen = choose(lab_site, world(PLACES, ROUTERS))
    assert (chosen.name, chosen.batches, chosen.capacity) == ("side-by-side", (("gpu1",), ("gpu2",)), (2, 2))
    assert chosen.problems == () and not chosen.downtime


def test_too_little_memory_means_in_turn_with_the_arithmetic(lab_site: Site, world: World) -> None:
    chosen = choose(lab_site, world(PLACES, ROUTERS, available=GIB))  # 0.8 of it may be used
    assert chosen.name == "in-turn" and "819.2 MiB of memory left" in chosen.why and "takes 1.0 GiB" in chosen.why
    assert chosen.capacity == (1, 1) and chosen.problems == ()


def test_side_by_side_that_does_not_fit_is_refused_for_every_host(lab_site: Site, world: World) -> None:
    chosen = choose(changed(lab_site, strategy="side-by-side"), world(PLACES, ROUTERS, available=0))
    assert [problem.where for problem in chosen.problems] == ["host gpu1", "host gpu2"]


def test_one_host_that_cannot_hold_two_needs_the_operators_word(lab_site: Site, world: World) -> None:
    alone = lab_site.model_copy(update={"hosts": {n: h for n, h in lab_site.hosts.items() if n != "gpu2"}})
    readings = world({"gpu1": {"blue": OLD}}, {"gw1": {"gpu1": "blue"}, "gw2": {"gpu1": "blue"}}, available=0)
    refused = choose(alone, readings)
    assert "only engine host" in refused.problems[0].what and "--allow-downtime" in refused.problems[0].hint
    assert choose(alone, readings, allow=True).problems == () and choose(alone, readings, allow=True).downtime


def test_a_host_where_both_run_already_fits(lab_site: Site, world: World) -> None:
    places = {"gpu1": {"blue": OLD, "green": NEW}, "gpu2": {"blue": OLD, "green": NEW}}
    assert choose(lab_site, world(places, ROUTERS, available=0)).name == "side-by-side"


def test_unknown_memory_is_not_enough(lab_site: Site, world: World) -> None:
    readings = world(PLACES, ROUTERS)
    readings["gpu2"] = Reading("gpu2", True, values=dict(list(readings["gpu2"].values.items())[:1]))
    assert "not known" in choose(lab_site, readings).why


@pytest.mark.parametrize(
    ("hosts", "canary", "sizes"),
    [(1, 1, [1]), (2, 1, [1, 1]), (5, 1, [1, 1, 1, 1, 1]), (41, 1, [1, 10, 10, 10, 10]), (9, 3, [3, 2, 2, 2])],
)
def test_the_canary_goes_first_and_the_rest_in_four(hosts: int, canary: int, sizes: list[int]) -> None:
    names = [f"g{number}" for number in range(hosts)]
    parts = strategy.split(names, canary)
    assert [len(part) for part in parts] == sizes and [name for part in parts for name in part] == names


def test_the_plan_has_the_rollout_and_its_problems(lab_site: Site, world: World) -> None:
    readings = world(PLACES, ROUTERS)
    made = plan.make(lab_site, readings, NEW)
    assert made.rollout and made.rollout.name == "side-by-side" and made.serving == OLD
    assert plan.make(lab_site, readings, OLD).rollout is None
    assert len(plan.make(changed(lab_site, strategy="side-by-side"), world(PLACES, ROUTERS, 0), NEW).problems) >= 2
