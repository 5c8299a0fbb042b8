"""Alerts: promtool's word on the rules, and for each alert a case that fires and a near miss that does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import monitored
import pytest
import yaml

from dsdeploy.site import Site

HERE = Path(__file__).parent
# everything is text to this loader: 0x90 is ninety zeros to promtool, and a number to YAML
CASES: dict[str, Any] = yaml.load((HERE / "alerts.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
RUNBOOKS = monitored.ROOT / "docs" / "runbooks.md"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (package prometheus)")


@cache
def everything() -> Site:
    """A site that asks for all there is: GPUs, dcgm-exporter, backups, a shared address."""
    return monitored.site(site=monitored.ALL, dcgm_port=9400, webhook="http://10.0.0.9/")


@cache
def rules() -> str:
    return monitored.rules(everything())


@cache
def written() -> dict[str, dict[str, Any]]:
    """Every alert of that site, by name."""
    document = yaml.safe_load(rules())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"] if "alert" in rule}


def only(alert: str) -> str:
    """The records and one alert: evaluating all of them for each case would take minutes."""
    document = yaml.safe_load(rules())
    for group in document["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert", alert) == alert]
    return yaml.safe_dump(document)


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)


def series(changes: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"series": name, "values": value} for name, value in (CASES["healthy"] | changes).items() if value != "null"
    ]


def judged(folder: Path, expression: str, changes: dict[str, str], wanted: list[str], alert: str = "") -> str:
    """What promtool says against a site in this state; "" when `expression` gives the `wanted` series, each 1."""
    (folder / "rules.yml").write_text(only(alert) if alert else rules())
    samples = [{"labels": labels, "value": 1} for labels in wanted]
    test = {
        "interval": "1m",
        "input_series": series(changes),
        "promql_expr_test": [{"expr": expression, "eval_time": "40m", "exp_samples": samples}],
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", str(folder / "test.yml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def firing(alert: str, on: dict[str, str]) -> tuple[str, str]:
    """An expression that counts the alert by the labels looked at, and the one series it gives."""
    labels = {"alertname": alert, **on}
    picked = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    expression = f'max by ({", ".join(labels)}) (ALERTS{{alertstate="firing",alertname="{alert}"}})'
    return expression, f"{{{picked}}}"


def test_every_alert_has_its_cases_and_every_case_its_alert() -> None:
    assert set(written()) == set(CASES["alerts"])


@needs_promtool
@pytest.mark.parametrize("given", [monitored.site(), everything()], ids=["small", "everything"])
def test_promtool_accepts_the_rules(given: Site, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(monitored.rules(given))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yml"))
    assert done.returncode == 0, done.stderr


@needs_promtool
def test_a_healthy_site_fires_nothing(tmp_path: Path) -> None:
    assert judged(tmp_path, 'ALERTS{alertstate="firing"}', {}, []) == ""


@needs_promtool
@pytest.mark.parametrize("alert", CASES["alerts"])
def test_it_fires_on_the_host_it_is_about(alert: str, tmp_path: Path) -> None:
    case = CASES["alerts"][alert]
    expression, wanted = firing(alert, case["about"])
    assert judged(tmp_path, expression, case["firing"], [wanted], alert) == ""


@needs_promtool
@pytest.mark.parametrize("alert", CASES["alerts"])
def test_a_near_miss_does_not_fire(alert: str, tmp_path: Path) -> None:
    case = CASES["alerts"][alert]
    host = "".join(f',{name}="{value}"' for name, value in case["about"].items() if name == "host")
    expression = f'ALERTS{{alertstate="firing",alertname="{alert}"{host}}}'
    assert judged(tmp_path, expression, case["quiet"], [], alert) == ""


@pytest.mark.parametrize("alert", written())
def test_it_says_how_bad_it_is_where_and_what_to_do(alert: str) -> None:
    rule = written()[alert]
    summary = rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    about = CASES["alerts"][alert]["about"]
    assert "{{ $labels.host }}" in summary if "host" in about else "lab" in summary
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert page == "docs/runbooks.md"
    headings = re.findall(r"(?m)^## (.+)$", RUNBOOKS.read_text(encoding="utf-8"))
    assert anchor in [heading.lower() for heading in headings]


def test_every_runbook_is_that_of_an_alert() -> None:
    headings = re.findall(r"(?m)^## (.+)$", RUNBOOKS.read_text(encoding="utf-8"))
    assert headings == list(written())


def test_an_alert_reads_only_what_is_told_apart_by_its_host() -> None:
    """`instance` has ports and addresses in it; what an operator knows is the name in the site file."""
    assert [name for name, rule in written().items() if "instance" in str(rule)] == []


def test_thresholds_are_the_site_files() -> None:
    given = monitored.site(thresholds={"gpu_idle": 0.42, "down": "7s", "disk": 0.33})
    text = monitored.rules(given)
    assert "< 0.42)" in text and "for: 7s" in text and "< 0.33" in text
    assert "for: 60s" not in text
