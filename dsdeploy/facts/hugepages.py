"""The pool of 2 MiB huge pages. The kernel gives what it can and says nothing when it is less."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number

_POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"


@dataclass(frozen=True)
class Hugepages:
    """Counts of pages of `size_kb`. `surplus` are pages still in use after the pool was made smaller."""

    total: int
    free: int
    surplus: int
    size_kb: int


class HugepagesFact(Fact[Hugepages]):
    value = Hugepages

    def command(self) -> str:
        return f"grep -Hs '' {_POOL}/nr_hugepages {_POOL}/free_hugepages {_POOL}/surplus_hugepages"

    def process(self, output: list[str]) -> Hugepages:
        found = {}
        for line in output:
            path, _, value = line.rpartition(":")
            found[path.rpartition("/")[2]] = number(value) or 0
        return Hugepages(
            total=found.get("nr_hugepages", 0),
            free=found.get("free_hugepages", 0),
            surplus=found.get("surplus_hugepages", 0),
            size_kb=2048,
        )
