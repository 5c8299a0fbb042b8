"""Every way a web server was seen to break a resumed download, and what the pull makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from checkpoint import md5sums, sha256sums, shard
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.layout import Layout
from hostile_server import (
    Fault,
    HostileServer,
    compresses,
    cuts_after,
    error_page,
    flips_a_byte,
    ignores_range,
    lies_about_range,
    other_content,
    other_content_despite_if_range,
    stalls_after,
    status,
)

SHARD = "model-00001-of-00002.safetensors"
OTHER = "model-00002-of-00002.safetensors"
Run = Callable[..., dict[str, Any]]


def arrived(layout: Layout, files: dict[str, bytes]) -> bool:
    found = {str(p.relative_to(layout.live)): p.read_bytes() for p in layout.live.rglob("*") if p.is_file()}
    return found == {name: data for name, data in files.items() if name not in ("MD5SUMS", "SHA256SUMS")}


def test_a_good_server(pull: Run, server: HostileServer, layout: Layout, files: dict[str, bytes]) -> None:
    result = pull()
    assert result["state"] == "pulled" and result["changed"] and result["files"] == 5
    assert arrived(layout, files) and not layout.staging.exists() and not layout.journal.exists()
    lines = "".join(
        f"{hashlib.sha256(files[name]).hexdigest()}  {len(files[name])}  {name}\n"
        for name in sorted(files)
        if name != "MD5SUMS"
    )
    assert result["digest"] == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert any("md5 only" in note for note in result["notes"])


RECOVERED: dict[str, list[Fault]] = {
    "truncated": [cuts_after(3000)],
    "truncated three times": [cuts_after(3000), cuts_after(900), cuts_after(1200)],
    "stalled": [stalls_after(3000)],
    "stalled before the first byte": [stalls_after(0)],
    "503 then fine": [status(503), status(503)],
    "429 with Retry-After": [status(429, Retry_After="7"), status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")],
    "Range ignored": [cuts_after(3000), ignores_range],
    "Range answered with other bytes": [cuts_after(3000), lies_about_range],
    "416 to a sensible range": [cuts_after(3000), status(416)],
    "one bad byte": [flips_a_byte],
    "two bad copies": [flips_a_byte, flips_a_byte],
    "error page once": [error_page],
    "another file, new ETag": [cuts_after(3000), other_content(shard({"x": 9000}))],
    "another file, If-Range ignored": [cuts_after(3000), other_content_despite_if_range(shard({"embed": 4100}))],
}


@pytest.mark.parametrize("faults", RECOVERED.values(), ids=RECOVERED)
def test_the_pull_gets_over_it(
    faults: list[Fault], pull: Run, server: HostileServer, layout: Layout, files: dict[str, bytes]
) -> None:
    server.next[SHARD] = list(faults)
    assert pull()["state"] == "pulled"
    assert arrived(layout, files) and not server.next[SHARD]
    assert len(server.gets(OTHER)) == 1


def test_a_broken_transfer_continues_at_its_byte(pull: Run, server: HostileServer) -> None:
    server.next[SHARD] = [cuts_after(3000), cuts_after(500)]
    pull()
    assert server.gets(SHARD) == ["", "bytes=3000-", "bytes=3500-"]


FATAL: dict[str, tuple[Fault, str, str]] = {
    "wrong bytes": (flips_a_byte, "not what the manifest says", "md5"),
    "error page": (error_page, "not what the manifest says", "content"),
    "forbidden": (status(403), "403", ""),
    "compressed": (compresses, "gzip", ""),
    "never answers": (status(503), "3 tries", ""),
    "stalls for ever": (stalls_after(0), "3 tries", ""),
}


@pytest.mark.parametrize("fault, said, kind", FATAL.values(), ids=FATAL)
def test_the_pull_says_what_is_wrong(
    fault: Fault, said: str, kind: str, pull: Run, server: HostileServer, layout: Layout, files: dict[str, bytes]
) -> None:
    server.always[SHARD] = fault
    with pytest.raises(Refused) as error:
        pull()
    document = error.value.document()
    assert said in document["what"] and document["where"] and document["hint"]
    assert [(p["path"], p["kind"]) for p in document["problems"]] == ([(SHARD, kind)] if kind else [])
    assert not layout.live.exists() and not layout.stamp.exists() and not layout.progress.exists()
    server.always.clear()
    assert pull()["state"] == "pulled" and arrived(layout, files)


def test_wrong_bytes_name_shard_wanted_and_got(
    pull: Run, server: HostileServer, layout: Layout, files: dict[str, bytes]
) -> None:
    server.always[SHARD] = flips_a_byte
    with pytest.raises(Refused) as error:
        pull()
    [problem] = error.value.problems
    bad = bytearray(files[SHARD])
    bad[-1] ^= 1
    assert problem.wanted == hashlib.md5(files[SHARD]).hexdigest()
    assert problem.got == hashlib.md5(bad).hexdigest()
    assert error.value.where == str(layout.staging)
    assert len(server.gets(SHARD)) == 3 and len(server.gets(OTHER)) == 1


def test_only_the_bad_shard_travels_again(pull: Run, server: HostileServer) -> None:
    server.always[SHARD] = flips_a_byte
    with pytest.raises(Refused):
        pull()
    server.always.clear()
    server.seen.clear()
    assert pull()["state"] == "pulled"
    assert len(server.gets(SHARD)) == 1 and server.gets(OTHER) == []


def test_md5_right_and_sha256_wrong_is_refused(pull: Run, server: HostileServer) -> None:
    server.files["SHA256SUMS"] = sha256sums(server.files)
    tampered = bytearray(server.files[SHARD])
    tampered[-1] ^= 1
    server.files[SHARD] = bytes(tampered)
    server.files["MD5SUMS"] = md5sums(server.files)  # whoever can change the shard can change its md5
    with pytest.raises(Refused) as error:
        pull()
    assert [(p.path, p.kind) for p in error.value.problems] == [(SHARD, "sha256")]


def test_a_listed_file_the_server_lacks(pull: Run, server: HostileServer) -> None:
    del server.files[OTHER]
    with pytest.raises(Refused) as error:
        pull()
    assert [(p.path, p.kind) for p in error.value.problems] == [(OTHER, "missing")]


def test_no_manifest(pull: Run, server: HostileServer, layout: Layout) -> None:
    del server.files["MD5SUMS"]
    with pytest.raises(Refused, match="no manifest"):
        pull()
    assert not layout.staging.exists()


def test_a_server_that_is_not_there(layout: Layout, limits: Any, server: HostileServer) -> None:
    from dsdeploy_weights.pull import Pull
    from dsdeploy_weights.web import HttpSource

    source = HttpSource("http://127.0.0.1:1/w/", 0.3)
    with pytest.raises(Refused, match="does not answer"):
        Pull(layout, source, limits).run()


def test_a_url_with_a_password_is_refused_and_not_shown(limits: Any) -> None:
    from dsdeploy_weights.web import HttpSource

    with pytest.raises(Refused) as error:
        HttpSource("http://user:hunter2@127.0.0.1/w/", 0.3)
    assert "hunter2" not in str(error.value.document())


def test_https_is_never_left_for_http_by_a_redirect() -> None:
    import urllib.request

    from dsdeploy_weights.web import _Redirect

    request = urllib.request.Request("https://mirror.example/w/x")
    with pytest.raises(Refused, match="https to http"):
        _Redirect().redirect_request(request, None, 302, "Found", {}, "http://mirror.example/w/x")
