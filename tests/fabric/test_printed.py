"""What perftest, nccl-tests and DCGM print, by file: printed/expected.yml says what is read of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy.fabric import all_reduce, dcgm, write_bw

PRINTED = Path(__file__).resolve().parent / "printed"
EXPECTED: dict[str, list[dict[str, Any]]] = yaml.safe_load((PRINTED / "expected.yml").read_text(encoding="utf-8"))


def cases(reader: str) -> Any:
    return pytest.mark.parametrize("case", EXPECTED[reader], ids=lambda case: case["file"])


def text(case: dict[str, Any]) -> tuple[str, str]:
    """As the document or as the table, by its name."""
    read = (PRINTED / case["file"]).read_text(encoding="utf-8")
    return (read, "") if case["file"].endswith(".json") else ("", read)


@cases("write")
def test_ib_write_bw(case: dict[str, Any]) -> None:
    found = write_bw.parse(*text(case))
    if case["gbits"] is None:
        assert found.gbits is None and case["problem"] in found.problem
    else:
        assert (found.gbits, found.size) == (pytest.approx(case["gbits"], abs=0.01), case["size"])


@cases("all_reduce")
def test_all_reduce(case: dict[str, Any]) -> None:
    found = all_reduce.parse(*text(case))
    if case["bus"] is None:
        assert found.bus is None and case["problem"] in found.problem
    else:
        assert (found.bus, found.size, found.wrong) == (case["bus"], case["size"], case["wrong"])


@cases("dcgm")
def test_dcgm(case: dict[str, Any]) -> None:
    found = dcgm.parse("".join(text(case)))
    if "problem" in case:
        assert case["problem"] in found.problem
        return
    counted = (found.passed, len(found.failed), len(found.warned), found.skipped)
    assert counted == (case["passed"], case["failed"], case["warned"], case["skipped"])
    assert case.get("says", "") in "".join(found.failed)


def test_every_printed_file_is_expected_and_says_where_it_comes_from() -> None:
    told = [case for group in EXPECTED.values() for case in group]
    files = {path.name for path in PRINTED.iterdir()} - {"expected.yml", "README.md"}
    assert {case["file"] for case in told} == files
    assert all(case["source"] for case in told)


HOSTILE = [
    "",
    "{",
    "[" * 100_000,
    '{"results": 7}',
    '{"results": [7, {"size": "x"}]}',
    '{"results": {"BW_average": true}}',
    '{"results": [{"size": 1, "out_of_place": {"bus_bw": "nan"}}]}',
    "1 2 3 4 5 6",
    "1 2 float sum -1 1.2.3 4 5.6.7 0",
    "#bytes #iterations BW average[Gb/sec]\n1 2 3 4..5 6",
    "\x00\ud800",
    "== rc x",
    '{"DCGM Diagnostic": {"test_categories": [{"tests": 5}]}}',
    '{"DCGM Diagnostic": 5}',
    "9" * 5000,
]


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_printed_makes_a_reader_raise_or_measure(said: str) -> None:
    assert write_bw.parse(said, said).gbits is None
    assert all_reduce.parse(said, said).bus is None
    assert dcgm.parse(said).problem
