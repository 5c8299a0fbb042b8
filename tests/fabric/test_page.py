"""docs/gpu-hosts.md: its commands exist, its site snippets load, its figures are those of the data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dsdeploy.fabric import figures, measure
from dsdeploy.site.fabric import Fabric

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gpu-hosts.md").read_text(encoding="utf-8")
SNIPPETS = [
    yaml.safe_load(re.sub(r"(?m)^   ", "", text) if text.startswith("   ") else text)
    for text in re.findall(r"```yaml\n(.*?)\n *```", PAGE, re.DOTALL)
]


def test_every_verb_it_names_exists() -> None:
    from dsdeploy.cli import cli

    named = set(re.findall(r"(?m)(?:`|^)dsdeploy ([a-z]+)", PAGE))
    assert named and named <= set(cli.commands)


def test_every_option_it_names_exists() -> None:
    from dsdeploy.cli import cli

    options = {name for option in cli.commands["check"].params for name in option.opts}
    assert set(re.findall(r"dsdeploy check \S+ (--[a-z-]+)", PAGE)) <= options and "--while-serving" in options


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_its_site_snippets_are_right(snippet: dict[str, dict[str, object]]) -> None:
    Fabric.model_validate(snippet["fabric"])


def test_its_figures_are_those_of_the_data() -> None:
    assert len(SNIPPETS) == 3
    assert f"{figures.write(100, []):.0f} Gb/s a port is what EDR must reach" in PAGE
    assert f"{figures.figures().write * 100:.0f} % of the port's rate" in PAGE
    assert f"TCP ports from {measure.PORT} up" in PAGE
