"""Transparent huge pages: what is on now, which is the value in brackets."""

from __future__ import annotations

from dataclasses import dataclass, field

from dsdeploy.facts.fact import Fact, number

_ROOT = "/sys/kernel/mm/transparent_hugepage"


@dataclass(frozen=True)
class Thp:
    """`sizes` has each page size in kB with a setting of its own; "inherit" follows `enabled`.

    A size set to "always" is on even where `enabled` says never. Absent: a kernel without THP.
    """

    present: bool
    writable: bool = False
    enabled: str = ""
    defrag: str = ""
    khugepaged_defrag: int | None = None
    sizes: dict[int, str] = field(default_factory=dict)


def bracketed(text: str) -> str:
    """`never` from `always madvise [never]`."""
    _, _, rest = text.partition("[")
    return rest.partition("]")[0].strip()


class ThpFact(Fact[Thp]):
    value = Thp

    def command(self) -> str:
        return f"""
cd {_ROOT} 2>/dev/null || exit 0
[ -w enabled ] && echo writable:1
grep -Hs '' enabled defrag khugepaged/defrag hugepages-*kB/enabled
"""

    def process(self, output: list[str]) -> Thp:
        found = {}
        for line in output:
            name, _, value = line.partition(":")
            found[name.strip()] = value.strip()
        if "enabled" not in found:
            return Thp(present=False)
        sizes = {}
        for name, value in found.items():
            size = number(name.removeprefix("hugepages-").removesuffix("kB/enabled"))
            if size is not None:
                sizes[size] = bracketed(value)
        return Thp(
            present=True,
            writable=found.get("writable") == "1",
            enabled=bracketed(found["enabled"]),
            defrag=bracketed(found.get("defrag", "")),
            khugepaged_defrag=number(found.get("khugepaged/defrag", "")),
            sizes=dict(sorted(sizes.items())),
        )
