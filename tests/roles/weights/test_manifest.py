"""Every form a manifest was seen in, and every name that must not become a file."""

from __future__ import annotations

import json

import pytest
from checkpoint import manifest_json, md5sums, sha256sums
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.manifest import Entry, combine, parse_sums

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

READ = {
    "text mode": (f"{MD5}  a b.txt\n", "a b.txt"),
    "binary mode": (f"{MD5} *a.bin\n", "a.bin"),
    "upper case": (f"{MD5.upper()}  a\n", "a"),
    "CRLF": (f"{MD5}  a\r\n", "a"),
    "byte order mark": (f"\ufeff{MD5}  a\n", "a"),
    "no newline at the end": (f"{MD5}  a", "a"),
    "blank lines": (f"\n{MD5}  a\n\n", "a"),
    "leading ./": (f"{MD5}  ./dir/a\n", "dir/a"),
    "BSD": (f"MD5 (a (1).txt) = {MD5}\n", "a (1).txt"),
    "escaped backslash": (f"\\{MD5}  a\\\\b\n", "a\\b"),
    "escaped newline": (f"\\{MD5}  a\\nb\n", "a\nb"),
    "two spaces in the name": (f"{MD5}  a  b\n", "a  b"),
}


@pytest.mark.parametrize("text, path", READ.values(), ids=READ)
def test_forms_of_md5sums(text: str, path: str) -> None:
    assert parse_sums(text.encode(), "md5", "MD5SUMS") == [Entry(path, None, MD5)]


SENSELESS = {
    "empty": (b"", "no file"),
    "blank": (b"\n\r\n", "no file"),
    "UTF-16": (f"{MD5}  a\n".encode("utf-16"), "UTF-16"),
    "a web page": (b"<html>404</html>", "web page"),
    "not text": (b"\x80\x81", "not text"),
    "hash too short": (b"abc  a\n", "32 hex digits"),
    "sha1": (b"da39a3ee5e6b4b0d3255bfef95601890afd80709  a\n", "32 hex digits"),
    "BSD of another kind": (f"SHA256 (a) = {SHA}\n".encode(), "32 hex digits"),
    "no hash": (b"just words\n", "line 1"),
    "one space": (f"{MD5} a\n".encode(), "line 1"),
    "second line": (f"{MD5}  a\nrubbish\n".encode(), "line 2"),
}


@pytest.mark.parametrize("raw, said", SENSELESS.values(), ids=SENSELESS)
def test_manifests_without_sense(raw: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said):
        combine({"MD5SUMS": raw})


NAMES = {
    "up": "../../etc/cron.d/x",
    "up inside": "a/../../x",
    "up to itself": "a/../x",
    "absolute": "/etc/passwd",
    "dot": "./././a/.",
    "double slash": "a//b",
    "trailing slash": "a/",
    "option": "-rf",
    "option below": "a/--help",
    "control": "a\x07b",
    "newline": "a\\nb",
    "delete": "a\x7fb",
    "NUL": "a\0b",
    "backslash": "a\\\\b",
    "shell": "$(id)",
    "semicolon": "a;b",
    "quote": "a'b",
    "home": "~/x",
    "template": "{{ lookup('pipe','id') }}",
    "percent": "a%2e%2e",
    "colon": "c:x",
    "bidi": "a\u202eb",
    "homoglyph": "c\u043enfig.json",
    "300 characters": "a" * 300,
    "256 bytes": "d/" * 127 + "ab",
    "leading space": " a",
    "trailing space": "a ",
    "trailing dot": "a.",
    "part": "a.part",
    "part's note": "a.part.json",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_are_refused(name: str) -> None:
    escape = "\\" if "\\" in name else ""
    with pytest.raises(Refused, match=r"names that are refused|is not '<md5>"):
        combine({"MD5SUMS": f"{escape}{MD5}  {name}\n".encode()})


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("dir/x", "Dir/X"), ("a", "a/b"), ("A", "a/b/c")], ids=str)
def test_names_that_collide(names: tuple[str, str]) -> None:
    with pytest.raises(Refused) as error:
        combine({"MD5SUMS": "".join(f"{MD5}  {name}\n" for name in names).encode()})
    assert {problem.kind for problem in error.value.problems} <= {"duplicate", "name"} and error.value.problems


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(Refused) as error:
        combine({"MD5SUMS": f"{MD5}  /a\n{MD5}  ok\n{MD5}  ../b\n".encode()})
    assert [problem.path for problem in error.value.problems] == ["/a", "../b"]


def test_three_manifests_make_one_entry(files: dict[str, bytes]) -> None:
    entries = combine(
        {"manifest.json": manifest_json(files), "SHA256SUMS": sha256sums(files), "MD5SUMS": md5sums(files)}
    )
    assert all(entry.md5 and entry.sha256 and entry.size is not None for entry in entries)
    assert [entry.path for entry in entries] == sorted(set(files) - {"MD5SUMS"})


def test_a_manifest_may_list_itself() -> None:
    assert combine({"MD5SUMS": f"{MD5}  MD5SUMS\n{MD5}  a\n".encode()}) == (Entry("a", None, MD5),)


def test_manifests_over_different_files_are_refused() -> None:
    with pytest.raises(Refused, match="disagree") as error:
        combine({"MD5SUMS": f"{MD5}  a\n{MD5}  b\n".encode(), "SHA256SUMS": f"{SHA}  a\n".encode()})
    assert [problem.path for problem in error.value.problems] == ["b"]


@pytest.mark.parametrize(
    "document",
    [
        "nonsense", [], {}, {"files": []}, {"files": {}}, {"files": ["a"]},
        {"files": [{"size": 1, "sha256": SHA}]},
        {"files": [{"path": "a", "sha256": SHA}]},
        {"files": [{"path": "a", "size": True, "sha256": SHA}]},
        {"files": [{"path": "a", "size": -1, "sha256": SHA}]},
        {"files": [{"path": "a", "size": 1}]},
        {"files": [{"path": "a", "size": 1, "sha256": MD5}]},
        {"files": [{"path": "a", "size": 1, "sha256": SHA, "md5": SHA}]},
        {"files": [{"path": "../a", "size": 1, "sha256": SHA}]},
    ],
    ids=lambda document: json.dumps(document)[:60],
)  # fmt: skip
def test_bad_manifest_json(document: object) -> None:
    with pytest.raises(Refused):
        combine({"manifest.json": json.dumps(document).encode()})
