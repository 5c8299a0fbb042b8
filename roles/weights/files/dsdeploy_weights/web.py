"""Weights from a web server: resume by Range, and distrust of everything a server may do with a Range."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import parsedate_to_datetime
from typing import Any, Dict, Optional

from .errors import Absent, Refused, Transient
from .source import Source, Stream

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")
_WAIT = (408, 425, 429, 500, 502, 503, 504)
_ASK = {"Accept-Encoding": "identity", "User-Agent": "dsdeploy-weights"}
_TROUBLE = (OSError, http.client.HTTPException)
_ENDED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise Refused("the server redirects from https to http", without_secrets(newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Only http and https; urllib's default would also follow a redirect to ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirect(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def without_secrets(url: str) -> str:
    """The URL as it may be shown: no user info, no query (where signed links keep their signature)."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class HttpSource(Source):
    def __init__(self, url: str, timeout_s: float) -> None:
        """``timeout_s`` bounds the connect and each silence after it."""
        self.shown = without_secrets(url)
        if "@" in urllib.parse.urlsplit(url).netloc:
            raise Refused("the source URL holds a user name or password", self.shown, "serve it without, or by address")
        self._url = url if url.endswith("/") else url + "/"
        self._timeout_s = timeout_s
        self._opener = _opener()

    def document(self, path: str, limit: int) -> bytes:
        response = self._request(path)
        try:
            data: bytes = response.read(limit)
            expected = response.headers.get("Content-Length", "")
        except _TROUBLE as error:
            raise Transient(f"{self.shown}{path}: {error}") from error
        finally:
            response.close()
        if expected.isdigit() and len(data) < min(int(expected), limit):
            raise Transient(f"{self.shown}{path}: closed after {len(data)} of {expected} bytes")
        return data

    def size(self, path: str) -> Optional[int]:
        response = self._request(path, method="HEAD")
        response.close()
        return _number(response.headers.get("Content-Length"))

    def open(self, path: str, offset: int, tag: str) -> Stream:
        if not offset:
            return self._whole(path)
        wanted = {"Range": f"bytes={offset}-"}
        if tag and not tag.startswith("W/"):
            wanted["If-Range"] = tag
        try:
            response = self._request(path, headers=wanted)
        except urllib.error.HTTPError as error:
            error.close()
            return self._whole(path)  # 416: there is less at the source than we have
        served = _tag(response)
        match = _RANGE.match(response.headers.get("Content-Range", ""))
        if response.status == 206 and match and int(match.group(1)) == offset and (not tag or served == tag):
            total = None if match.group(3) == "*" else int(match.group(3))
            return Stream(response.read1, response.close, offset, total, served)
        if response.status == 200:  # the server ignores Range, or the content is another one now
            return _from_start(response)
        response.close()
        return self._whole(path)

    def _whole(self, path: str) -> Stream:
        response = self._request(path)
        if response.status != 200:
            response.close()
            raise Transient(f"{self.shown}{path}: status {response.status} to a plain request")
        return _from_start(response)

    def _request(self, path: str, method: str = "GET", headers: Optional[Dict[str, str]] = None) -> Any:
        """A response of status 200 or 206; HTTPError only for 416."""
        url = self._url + urllib.parse.quote(path)
        shown = self.shown + path
        request = urllib.request.Request(url, method=method, headers={**_ASK, **(headers or {})})
        try:
            response = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                raise
            error.close()
            raise _status(error, shown) from error
        except _TROUBLE as error:
            raise _trouble(error, shown) from error
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            response.close()
            raise Refused(
                f"the server sends {encoding!a} data though asked for plain bytes",
                shown,
                "turn compression off for this location: sizes and ranges mean nothing with it",
            )
        return response


def _from_start(response: Any) -> Stream:
    total = _number(response.headers.get("Content-Length"))
    return Stream(response.read1, response.close, 0, total, _tag(response))


def _tag(response: Any) -> str:
    return str(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text and text.isdigit() else None


def _status(error: urllib.error.HTTPError, shown: str) -> Exception:
    if error.code in (404, 410):
        return Absent(shown)
    what = f"the server answers {error.code} {error.reason} for {shown}"
    if error.code in _WAIT:
        return Transient(what, _seconds(error.headers.get("Retry-After")))
    return Refused(what, shown, "see that this host may read it; the server's log has the reason")


def _trouble(error: Exception, shown: str) -> Exception:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, ssl.SSLCertVerificationError):
        what = f"{shown}: the certificate is not trusted: {reason.verify_message}"
        hint = "put a new one there" if reason.verify_code in _ENDED else "install the CA on this host"
        return Refused(what, shown, hint)
    return Transient(f"{shown} does not answer: {reason or error.__class__.__name__}")


def _seconds(text: Optional[str]) -> Optional[float]:
    """Retry-After as seconds from now; it is a number or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, IndexError):
        return None
