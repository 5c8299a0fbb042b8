"""Add up the test reports in a folder: counts, and every left-out test with its reason."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def main(folder: Path) -> int:
    counts: Counter[str] = Counter()
    left_out: Counter[tuple[str, str]] = Counter()
    for report in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            outcome = {child.tag for child in case}
            skipped = case.find("skipped")
            if skipped is not None:
                counts["skipped"] += 1
                left_out[(case.get("classname", ""), skipped.get("message", "no reason given"))] += 1
            elif outcome & {"failure", "error"}:
                counts["failed"] += 1
                print(f"failed: {case.get('classname')}.{case.get('name')}")
            else:
                counts["passed"] += 1
    for (where, reason), number in sorted(left_out.items()):
        print(f"left out: {number} in {where}: {reason}")
    if not left_out:
        print("left out of what was run: nothing")
    print(f"tests: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
