"""A source whose certificate has ended is told as that, with its address; the server and its certificate are real."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.web import HttpSource

WORDS = {-1: ("certificate has expired", "put a new one there"), 9: ("self-signed certificate", "install the CA")}


@pytest.fixture(params=WORDS)
def days(request: pytest.FixtureRequest) -> int:
    """How long the certificate holds: one that has ended is known on this host, one that holds is not."""
    return int(request.param)


@pytest.fixture
def certificate(tmp_path: Path, days: int) -> Path:
    """Key and certificate of 127.0.0.1 in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    words = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout k -out r"
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for line in (words, f"x509 -req -in r -signkey k -days {days} -extfile names -out c"):
        subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "k").read_text() + (tmp_path / "c").read_text())
    return both


@pytest.fixture
def server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{made.server_port}/m/v1/"
        made.shutdown()
        thread.join()


def test_what_is_wrong_with_a_certificate_is_told_with_the_address(
    server: str, certificate: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if days < 0:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    why, hint = WORDS[days]
    with pytest.raises(Refused) as caught:
        HttpSource(server, 5.0).document("MD5SUMS", 1000)
    assert caught.value.what.replace("self signed", "self-signed").startswith(
        f"{server}MD5SUMS: the certificate is not trusted: {why}"
    )
    assert hint in caught.value.hint
