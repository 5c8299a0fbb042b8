"""Thresholds: what a machine is known for, else the rule of its link."""

from __future__ import annotations

import pytest

from dsdeploy.fabric import figures

H200, H100, A100 = ["NVIDIA H200"] * 8, ["NVIDIA H100 80GB HBM3"] * 8, ["NVIDIA A100-SXM4-80GB"] * 8


@pytest.mark.parametrize(
    ("rate", "names", "asked", "wanted"),
    [
        (100, ["NVIDIA A100-PCIE-40GB"] * 4, 0, 90.0),  # the rule: 90 % of the line
        (400, H200, 0, 360.0),
        (400, H100, 0, 380.0),
        (200, A100, 0, 180.0),
        (200, H200, 0, 180.0),  # an H200 on slower ports: the rule again
        (400, H200, 370, 370.0),  # the site file stands above all
        (400, H200[:7] + H100[:1], 0, 360.0),  # mixed: the rule
        (56, [], 0, 50.4),
    ],
)
def test_what_a_port_must_write(rate: float, names: list[str], asked: int, wanted: float) -> None:
    assert figures.write(rate, names, asked) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [
        (H200, 0, 431.0),
        (H100, 0, 460.0),
        (A100, 0, 228.0),
        (A100[:4], 0, None),  # nobody's figure: nothing is demanded, and the measured one is shown
        (["NVIDIA H100 NVL"] * 2, 0, 208.0),
        (["NVIDIA A100 80GB PCIe"] * 4, 0, 25.0),
        (["Tesla V100-SXM2-32GB"] * 8, 0, 110.0),
        (["NVIDIA H20"] * 8, 0, None),  # H20 is not H200
        (A100[:4], 100, 100.0),
    ],
)
def test_what_one_host_must_reduce(names: list[str], asked: int, wanted: float | None) -> None:
    assert figures.all_reduce(names, 400, asked) == wanted


def test_between_hosts_the_slower_one_decides() -> None:
    assert figures.pair([[100.0], [100.0, 100.0]]) == pytest.approx(11.25)
    assert figures.pair([[400.0] * 8, [400.0] * 8]) == pytest.approx(360.0)
