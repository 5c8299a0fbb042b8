"""The kernel settings against a fake /proc and /sys: a tree of files that behaves as the kernel's does."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "host"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROLE / "module_utils" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


kernel = load("dsdeploy_kernel")
THP = "sys/kernel/mm/transparent_hugepage"
CHOICES = {
    "enabled": "always madvise never",
    "defrag": "always defer defer+madvise madvise never",
    "shmem_enabled": "always within_size advise never deny force",
}


def bracketed(choices: str, value: str) -> str:
    return " ".join(f"[{word}]" if word == value else word for word in choices.split()) + "\n"


class Machine:
    """A fake root whose files answer writes as the kernel does: brackets move, pools fill only as far as they can."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.capacity = 10**9
        self.after_compaction: int | None = None
        self.writes: list[tuple[str, str]] = []

    def file(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def text(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def write(self, root: str, path: str, value: str) -> None:
        self.writes.append((path, value))
        if path == "proc/sys/vm/compact_memory":
            self.capacity = self.after_compaction or self.capacity
            return
        old = self.text(path)
        if path == kernel.NR_HUGEPAGES:
            value = str(min(int(value), self.capacity))
        self.file(path, bracketed(old.replace("[", "").replace("]", ""), value) if "[" in old else value + "\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    made.file(f"{THP}/enabled", bracketed(CHOICES["enabled"], "madvise"))
    made.file(f"{THP}/defrag", bracketed(CHOICES["defrag"], "madvise"))
    made.file(f"{THP}/shmem_enabled", bracketed(CHOICES["shmem_enabled"], "never"))
    made.file(f"{THP}/khugepaged/defrag", "1\n")
    made.file(f"{THP}/hugepages-64kB/enabled", bracketed("always inherit madvise never", "never"))
    made.file(f"{THP}/hugepages-2048kB/enabled", bracketed("always inherit madvise never", "inherit"))
    made.file("proc/sys/vm/swappiness", "60\n")
    made.file("proc/sys/vm/nr_hugepages", "0\n")
    made.file("proc/sys/vm/compact_memory", "")
    made.file("proc/meminfo", "MemAvailable: 16777216 kB\nHugepagesize: 2048 kB\nHugePages_Total: 0\n")
    monkeypatch.setattr(kernel, "write", made.write)
    return made


def outcomes(report: object) -> dict[str, str]:
    return {knob.name: knob.outcome for knob in report.knobs}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "value"),
    [("always madvise [never]\n", "never"), ("always [defer+madvise] never", "defer+madvise"), ("1\n", "1")],
)
def test_choice_is_the_bracketed_word(text: str, value: str) -> None:
    assert kernel.choice(text) == value


def test_never_reaches_every_knob_and_is_read_back(machine: Machine) -> None:
    report = kernel.settle(str(machine.root), "never", 0, 10, check=False)
    names = ["thp.enabled", "thp.defrag", "thp.khugepaged.defrag", "swappiness"]
    assert outcomes(report) == dict.fromkeys(names, "applied")
    assert machine.text(f"{THP}/enabled") == "always madvise [never]"
    assert machine.text(f"{THP}/khugepaged/defrag") == "0"
    assert machine.text("proc/sys/vm/swappiness") == "10"


def test_a_second_run_writes_nothing(machine: Machine) -> None:
    kernel.settle(str(machine.root), "never", 64, 10, check=False)
    machine.writes.clear()
    report = kernel.settle(str(machine.root), "never", 64, 10, check=False)
    assert machine.writes == []
    assert set(outcomes(report).values()) == {"kept"}


def test_check_mode_says_and_writes_nothing(machine: Machine) -> None:
    report = kernel.settle(str(machine.root), "never", 64, 10, check=True)
    assert machine.writes == []
    assert report.names("applied") == ["thp.enabled", "thp.defrag", "thp.khugepaged.defrag", "swappiness", "hugepages"]
    assert report.values("after")["hugepages"] == "64"


def test_a_page_size_that_overrides_never_is_put_right(machine: Machine) -> None:
    machine.file(f"{THP}/hugepages-64kB/enabled", bracketed("always inherit madvise never", "always"))
    machine.file(f"{THP}/shmem_enabled", bracketed(CHOICES["shmem_enabled"], "within_size"))
    report = kernel.settle(str(machine.root), "never", 0, None, check=False)
    assert {"thp.hugepages-64kB.enabled", "thp.shmem_enabled"} <= set(report.names("applied"))
    assert machine.text(f"{THP}/hugepages-64kB/enabled").endswith("[never]")
    assert "[inherit]" in machine.text(f"{THP}/hugepages-2048kB/enabled"), "inherit follows the top level and stays"


def test_page_sizes_are_left_alone_when_huge_pages_are_wanted(machine: Machine) -> None:
    machine.file(f"{THP}/hugepages-64kB/enabled", bracketed("always inherit madvise never", "always"))
    kernel.settle(str(machine.root), "madvise", 0, None, check=False)
    assert machine.text(f"{THP}/hugepages-64kB/enabled").startswith("[always]")


def test_read_only_is_skipped_with_what_it_stays_at(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    report = kernel.settle(str(machine.root), "never", 0, 10, check=False)
    assert machine.writes == []
    assert "thp.enabled: read-only, stays at madvise" in report.names("skipped")
    assert report.names("applied") == report.names("failed") == []


def test_a_read_only_knob_that_is_right_already_is_no_news(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.settle(str(machine.root), "never", 0, 10, check=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert kernel.settle(str(machine.root), "never", 0, 10, check=False).names("skipped") == []


def test_a_kernel_without_transparent_huge_pages_has_them_off(tmp_path: Path) -> None:
    assert outcomes(kernel.settle(str(tmp_path), "never", 0, None, check=False)) == {"transparent_hugepage": "kept"}
    assert outcomes(kernel.settle(str(tmp_path), "always", 0, None, check=False)) == {"transparent_hugepage": "skipped"}


def test_a_write_that_the_kernel_ignores_is_a_failure(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "write", lambda root, path, value: None)
    report = kernel.settle(str(machine.root), "never", 0, None, check=False)
    assert "thp.enabled: wrote never, read back madvise" in report.names("failed")


def test_the_pool_is_filled(machine: Machine) -> None:
    assert kernel.hugepages(str(machine.root), 64, False).outcome == "applied"
    assert machine.text("proc/sys/vm/nr_hugepages") == "64"


def test_fragmented_memory_is_compacted_once_and_asked_again(machine: Machine) -> None:
    machine.capacity, machine.after_compaction = 40, 64
    knob = kernel.hugepages(str(machine.root), 64, False)
    assert (knob.outcome, knob.before, knob.after) == ("applied", "0", "64")
    assert machine.writes.count(("proc/sys/vm/compact_memory", "1")) == 1


def test_a_shortfall_says_wanted_got_and_what_to_do(machine: Machine) -> None:
    machine.capacity = 40
    knob = kernel.hugepages(str(machine.root), 64, False)
    assert knob.outcome == "failed"
    assert "wanted 64 pages" in knob.reason
    assert "got 40 pages" in knob.reason
    assert "hugepages=64" in knob.reason
    assert "host.hugepages_2mb" in knob.reason


def test_more_than_the_memory_is_refused_before_the_host_is_starved(machine: Machine) -> None:
    knob = kernel.hugepages(str(machine.root), 51200, False)
    assert knob.outcome == "failed"
    assert "wanted 51200 pages (100.0 GiB), got 0 pages" in knob.reason
    assert machine.writes == []


def test_another_page_size_is_refused(machine: Machine) -> None:
    machine.file("proc/meminfo", "MemAvailable: 16777216 kB\nHugepagesize: 1048576 kB\n")
    knob = kernel.hugepages(str(machine.root), 64, False)
    assert knob.outcome == "failed"
    assert "1048576 kB" in knob.reason


def test_a_smaller_pool_is_given_back(machine: Machine) -> None:
    machine.file("proc/sys/vm/nr_hugepages", "512\n")
    assert kernel.hugepages(str(machine.root), 64, False).after == "64"


def test_what_the_unit_runs_reports_and_fails_when_the_kernel_refuses(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    assert kernel.main(["never", "--root", str(machine.root)], said.append) == 0
    assert said[0] == "thp.enabled: applied, was madvise, is never"
    machine.file(f"{THP}/enabled", bracketed(CHOICES["enabled"], "always"))
    monkeypatch.setattr(kernel, "write", lambda root, path, value: None)
    assert kernel.main(["never", "--root", str(machine.root)], said.append) == 1
