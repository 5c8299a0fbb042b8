"""make test-faults: kill `up` and `upgrade` at every crash point, under load; then re-run, or roll back.

One row a case, as it goes, and as a line of JSON in .test-results/faults.jsonl; a table and one JSON line at the end.
Exit 1 unless every row is ok, 2 when the lab broke. FAULTS="--only switch" gives options to make.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..bench.lab import BenchError
from . import results
from .cases import Case, chosen, unreached
from .crash import Row, aim, play
from .lab import ROOT, Broken, Lab, machines, say
from .references import VERSIONS, References
from .snapshot import differences, take


def words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name it is found in")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many of them, at random")
    parser.add_argument("--seed", type=int, default=0, help="which ones; 0: any, and the number is told")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--resume-from", type=Path, metavar="FILE", help="without those that are ok in these results")
    parser.add_argument("--results", type=Path, default=ROOT / ".test-results" / "faults.jsonl", metavar="FILE")
    parser.add_argument("--folder", type=Path, help="where the suite's site file is; its lab and references stay")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="every Nth case from the Kth on, on lab K")
    parser.add_argument("--labs", type=int, default=1, metavar="N", help="so many parts at once")
    parser.add_argument("--site", type=Path, help="a lab that is there already; it stays, its site file is put back")
    return parser.parse_args()


@contextmanager
def labs(asked: argparse.Namespace) -> Iterator[Lab]:
    if asked.site:
        text, lab = asked.site.read_text(), Lab(asked.site.resolve())
        References(lab).path.unlink(missing_ok=True)  # others have worked there since
        try:
            yield lab
        finally:
            asked.site.write_text(text)
    else:
        folder = asked.folder or Path(tempfile.mkdtemp(prefix="dsdeploy-faults-"))
        with machines(folder.resolve(), bool(asked.folder), int(asked.part.partition("/")[0])) as lab:
            yield lab


def run(lab: Lab, cases: tuple[Case, ...], out: Path) -> list[Row]:
    """Each case goes from where the site is; one that went wrong is mended first."""
    references, rows = References(lab), []
    lab.quicken()
    measured = references.first()
    print(results.HEAD, flush=True)
    serving, heap = where(lab) if measured else mended(lab, references)
    for case in cases:
        row = play(lab, case, serving, heap, references)
        rows.append(row)
        results.keep(out, row)
        print(results.line(row), flush=True)
        serving, heap = mended(lab, references) if row.wrong else aim(case, serving, heap).end(case)
    return rows


def where(lab: Lab) -> tuple[str, str]:
    """Version that serves, "" when not one does well everywhere; and the heap that the site file has."""
    status = lab.status()
    return str(status["release"]).partition("-")[0] if status.get("healthy") else "", lab.heap


def mended(lab: Lab, references: References) -> tuple[str, str]:
    """The site whole and with no run left unfinished, whatever a case has left."""
    lab.refuse_switches(False)
    if lab.run("resume", str(lab.file), "--yes").code:
        lab.run("abort", str(lab.file), "--yes")
    version, heap = where(lab)
    if version not in VERSIONS or differences(references.snapshot(version, heap), take(lab.site)):
        references.move(version if version in VERSIONS else VERSIONS[0], "up")
        version, heap = where(lab)
    if version not in VERSIONS:
        raise Broken("the site cannot be mended: dsdeploy status SITE")
    return version, heap


def spread(asked: argparse.Namespace, seed: int, cases: int) -> int:
    """Each part in a process and on a lab of its own; all add to the same results. 0 if all ended well."""
    given = ["--only", asked.only, "--sample", str(asked.sample), "--seed", str(seed), "--results", str(asked.results)]
    # what was done is read from the results as they are now, so that all parts divide the same cases
    done = asked.results.with_suffix(".done")
    done.write_text(asked.resume_from.read_text() if asked.resume_from and asked.resume_from.exists() else "")
    children = []
    for number in range(1, asked.labs + 1):
        argv = [sys.executable, "-m", "tests.faults", *given, "--resume-from", str(done)]
        argv += ["--part", f"{number}/{asked.labs}"]
        argv += ["--folder", str(asked.folder / str(number))] if asked.folder else []
        children.append(subprocess.Popen(argv, cwd=ROOT))
    try:
        codes = [child.wait() for child in children]
    except BaseException:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        raise
    ok = results.held(asked.results)
    print(json.dumps({"suite": "faults", "cases": cases, "ok": len(ok)}), flush=True)
    return 1 if any(codes) else 0


def main() -> int:
    asked = words()
    seed = asked.seed or int(time.time())
    cases = chosen(asked.only, asked.sample, seed)
    done = results.held(asked.resume_from) if asked.resume_from and asked.resume_from.exists() else set()
    part, _, parts = asked.part.partition("/")
    todo = tuple(case for case in cases if case.name not in done)[int(part) - 1 :: int(parts)]
    if asked.list:
        print("\n".join(case.name for case in todo))
        return 0
    if parts == "1" and (not asked.resume_from or asked.resume_from.resolve() != asked.results.resolve()):
        asked.results.parent.mkdir(parents=True, exist_ok=True)
        asked.results.write_text("")
    print(f"{len(todo)} cases" + (f", seed {seed}" if asked.sample else ""), flush=True)
    if asked.labs > 1:
        return spread(asked, seed, len(cases))
    with labs(asked) as lab:
        rows = run(lab, todo, asked.results)
    found = results.total(rows, len(cases) - len(todo))
    print(results.table(rows, unreached()))
    print(json.dumps(found), flush=True)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in order: the load ends, the site file is put back
    try:
        sys.exit(main())
    except (Broken, BenchError) as error:
        say(str(error))
        sys.exit(2)
