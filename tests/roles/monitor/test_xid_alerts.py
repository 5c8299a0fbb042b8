"""Alerts on XIDs ask for the codes of dsdeploy's one table of them."""

from __future__ import annotations

import re
from typing import Any

import monitored
import yaml

from dsdeploy import xids


def test_alerts_ask_for_each_code_once_and_by_the_same_class() -> None:
    said: dict[str, Any] = yaml.safe_load(monitored.rules(monitored.site(site=monitored.ALL)))
    codes = {code: kind for kind, found in xids.codes().items() for code in found}
    rules = {rule["alert"]: rule["expr"] for group in said["groups"] for rule in group["rules"] if "alert" in rule}
    alerts = {name: expr for name, expr in rules.items() if name.startswith("GpuXid") and name != "GpuXidOther"}
    for code, kind in codes.items():
        firing = [name for name, expr in alerts.items() if _asks(expr, r'xid=~"([^"]+)"', str(code))]
        classes = [name for name, expr in alerts.items() if _asks(expr, r'class=~"([^"]+)"', kind)]
        assert firing == classes and len(firing) == (kind != "information"), code
        assert _asks(rules["GpuXidOther"], r'xid!~"([^"]+)"', str(code))  # known, so no matter for the last one


def _asks(expr: str, where: str, word: str) -> bool:
    """Whether an expression's matcher, which Prometheus anchors at both ends, takes this word."""
    found = re.search(where, expr)
    assert found, expr
    return re.fullmatch(found[1], word) is not None
