"""What benches make of what they measured."""

from __future__ import annotations

import pytest

from .bench.status import LIMIT_S, line


@pytest.mark.parametrize(("slow", "ok"), [(1.9, True), (LIMIT_S, False)])
def test_status_is_judged_by_its_median_and_set_beside_the_other_ways(slow: float, ok: bool) -> None:
    runs = {"status": [0.9, slow, slow, 1.0, 9.0], "ssh_each": [3.8] * 5, "ansible_ping": [0.95, 0.95, 0.95, 1.9, 1.9]}
    found = line(runs, {"status": [0.8, 0.7, 0.9]}, 4)
    assert (found["ok"], found["median_s"], found["worst_s"]) == (ok, slow, 9.0)
    assert found["cpu_s"] == {"status": 0.8}
    assert (found["ssh_each_ratio"], found["ansible_ping_ratio"]) == (round(3.8 / slow, 2), round(0.95 / slow, 2))
