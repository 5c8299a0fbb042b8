"""Bad site files: refused with places and hints, without a traceback, quickly, and nothing in them is run."""

from __future__ import annotations

import re
import runpy
import time
from pathlib import Path

import pytest

from dsdeploy import site
from dsdeploy.errors import SiteError

CORPUS = runpy.run_path(str(Path(__file__).parent / "corpus" / "cases.py"))
CASES = CORPUS["CASES"]


def test_the_corpus_has_at_least_sixty_files_and_its_base_is_good(tmp_path: Path) -> None:
    assert len(CASES) >= 60
    assert len({name for name, _, _ in CASES}) == len(CASES)
    file = tmp_path / "site.yml"
    file.write_text(CORPUS["GOOD"])
    assert site.load(file).site == "lab"


@pytest.mark.parametrize(("name", "content", "expected"), CASES, ids=[name for name, _, _ in CASES])
def test_a_bad_file_is_refused(
    name: str, content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "site.yml"
    file.write_bytes(content)
    started = time.process_time()
    with pytest.raises(SiteError) as caught:
        site.load(file)
    # a wide bound: it separates work that grows with the file from work that explodes
    assert time.process_time() - started < 10
    report = "\n".join(f"{p.where}: {p.what}\n{p.hint}" for p in caught.value.problems)
    assert re.search(expected, report), report[:2000]
    assert len(report) < 100_000
    assert all(p.where.startswith(str(file)) for p in caught.value.problems)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", report)
    assert [path.name for path in tmp_path.iterdir()] == ["site.yml"]
