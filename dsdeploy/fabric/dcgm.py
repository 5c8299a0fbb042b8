"""What `dcgmi diag -j` says, of DCGM 3 and 4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TOPS = ("DCGM Diagnostic", "DCGM GPU Diagnostic")  # 4, 3
_BAD = frozenset({"fail", "error"})


@dataclass(frozen=True)
class Diagnosis:
    """`failed` and `warned` have `test, GPU 3: why`. With `problem` there is no diagnosis at all."""

    passed: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    problem: str = ""


def parse(text: str) -> Diagnosis:
    """From what it printed, which may have lines before the document."""
    document = _document(text)
    top = next((document[name] for name in _TOPS if isinstance(document.get(name), dict)), None)
    if top is None:
        lines = [line.strip() for line in text.splitlines() if line.strip(" {}")]
        return Diagnosis(problem=(lines or ["it printed nothing"])[-1][:200])
    found = list(_results(top))
    if not found:
        said = top.get("runtime_error") or top.get("error") or "it ran no test"
        return Diagnosis(problem=str(said)[:200])
    return Diagnosis(
        passed=sum(status == "pass" for status, _ in found),
        skipped=sum(status in ("skip", "not run") for status, _ in found),
        failed=tuple(what for status, what in found if status in _BAD),
        warned=tuple(what for status, what in found if status == "warn"),
    )


def _document(text: str) -> dict[str, Any]:
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else ({}, 0)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _results(top: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Status in small letters, and what it is of."""
    for category in _list(top.get("test_categories")):
        for test in _list(category.get("tests")):
            for one in _list(test.get("results")):
                status = str(one.get("status", "")).lower()
                yield status, _what(str(test.get("name", "a test"))[:60], one)


def _what(name: str, one: dict[str, Any]) -> str:
    """3 has gpu_id, gpu_ids or nothing; 4 has entity_group and entity_id."""
    entity = one.get("gpu_id", one.get("gpu_ids", one.get("entity_id")))
    where = "" if entity in (None, "") else f", {one.get('entity_group', 'GPU')} {entity}"
    return f"{name}{where}: {_why(one)}"[:300]


def _why(one: dict[str, Any]) -> str:
    for key in ("warnings", "warning", "info"):
        told = one.get(key)
        if isinstance(told, list) and told:
            first = told[0]
            return str(first.get("warning") or first.get("message") or first) if isinstance(first, dict) else str(first)
        if isinstance(told, str) and told:
            return told
    return "no reason given"


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
