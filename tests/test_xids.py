"""One table of XIDs: what acceptance refuses and what the GPU report on a host says agree."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from dsdeploy import facts, xids
from dsdeploy.fabric import judge
from dsdeploy.hosts import Reading

CODES = {code: kind for kind, found in xids.codes().items() for code in found}
CHANGED = "GPU recovery action changed from 0x0 (None) to {}"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    """The host's half, imported as the host does."""
    spec = importlib.util.spec_from_file_location("table_gpu_xids", xids.FILE.with_name("gpu_xids.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (13, "application"), (31, "application"), (43, "application"), (45, "application"), (63, "drain"),
        (92, "drain"), (94, "drain"), (48, "reset"), (64, "reset"), (74, "reset"), (95, "reset"), (119, "reset"),
        (120, "reset"), (140, "reset"), (79, "reboot"), (121, "information"), (54, "vendor"), (57, "reset"),
        (99, "unknown"),
    ],
)  # fmt: skip
def test_what_a_code_asks_for(code: int, kind: str) -> None:
    assert xids.meaning(code).kind == kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (CHANGED.format("0x1 (GPU Reset Required)"), "reset"),
        (CHANGED.format("0x2 (Node Reboot Required)"), "reboot"),
        (CHANGED.format("0x2 (OS Reboot)"), "reboot"),  # the same in a later driver's words
        (CHANGED.format("0x3 (Drain P2P)"), "drain"),
        ("GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", "information"),
        (CHANGED.format("0x9 (New)"), "reset"),  # what we do not know is looked at
        ("", "reset"),
    ],
)
def test_the_drivers_own_words_count_more_than_the_table(words: str, kind: str, report: ModuleType) -> None:
    assert xids.meaning(154, words).kind == kind
    line = f"[ 12.500000] NVRM: Xid (PCI:0000:17:00): 154, {words}"
    assert [event.kind for event in report.parse([line])] == [kind]


def test_the_host_and_the_controller_say_the_same_of_every_code(report: ModuleType) -> None:
    for code in range(400):
        (event,) = report.parse([f"[ 12.500000] NVRM: Xid (PCI:0000:17:00): {code}, pid=1"])
        here = xids.meaning(code)
        assert (event.kind, event.action) == (here.kind, here.act)
        assert not here.what or event.meaning == here.what


def test_every_row_is_whole() -> None:
    table = xids._table()
    assert set(table["recovery"].values()) < set(table["classes"]) and len(CODES) == len(table["xids"])
    for code, row in table["xids"].items():
        assert code.isdigit() and row["what"] and set(row) <= {"class", "what", "act"}
        assert row["class"] in table["classes"] and row["class"] != "unknown"
        assert xids.meaning(int(code)).act or row["class"] == "information"


@pytest.mark.parametrize("code", [*sorted(CODES), 399])
def test_acceptance_refuses_what_hardware_alone_brings_about(code: int) -> None:
    log = facts.GpuLog(True, (facts.Xid("0000:17:00", code, "pid=1"),))
    found = [level for level, _ in judge.health("gpu1", Reading("gpu1", True, values={facts.GpuLog: log}))]
    kind = CODES.get(code, "unknown")
    wanted = {"information": [], "application": ["warn"], "unknown": ["warn"]}.get(kind, ["error"])
    assert found == wanted
