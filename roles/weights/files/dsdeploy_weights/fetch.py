"""Fetch one file into staging: continue it, wait out a bad source, refetch wrong bytes, give up aloud."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass, field
from typing import Callable, TypeVar

from .errors import Absent, BadFile, Finding, Refused, Transient
from .limits import Limits, Stop
from .manifest import Entry
from .part import Part
from .progress import Progress
from .source import Source, Stream
from .stamp import Record
from .tree import Tree

_CHUNK = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class Fetcher:
    source: Source
    staging: Tree
    limits: Limits
    progress: Progress
    stop: Stop = field(default_factory=Stop)

    def fetch(self, entry: Entry) -> Record:
        """The verified file, in staging. BadFile when it was wrong ``bad_tries`` times, fetched anew each."""
        last = Finding(entry.path, "the file", "nothing", "missing")
        for _ in range(self.limits.bad_tries):
            with Part(self.staging, entry, self.progress) as part:
                part.resume()
                try:
                    return self._complete(entry, part)
                except BadFile as error:
                    part.restart()
                    last = error.finding
                except Absent:
                    raise BadFile(
                        Finding(entry.path, "the file the manifest lists", "no such file", "missing")
                    ) from None
        raise BadFile(last)

    def _complete(self, entry: Entry, part: Part) -> Record:
        idle = 0
        while part.have == 0 or part.size is None or part.have < part.size:
            before = part.have
            try:
                self._stream(entry, part)
                break
            except Transient as error:
                idle = 0 if part.have > before else idle + 1
                if idle >= self.limits.tries:
                    raise _unavailable(self.source, error, self.limits.tries) from error
                self.stop.sleep(self.limits.pause_s(idle, error.retry_after))
        return part.finish()

    def _stream(self, entry: Entry, part: Part) -> None:
        """One answer of the source, to its end. Transient when it ends early, stalls, or trickles."""
        stream = self.source.open(entry.path, part.have, part.tag)
        try:
            if stream.offset != part.have:
                part.restart(stream.tag)
            elif stream.tag != part.tag:
                part.note(stream.tag)
            part.expect(stream.total)
            self._copy(stream, part)
        finally:
            stream.close()
        if part.size is not None and part.have < part.size:
            raise Transient(f"{self.source.shown}: closed at byte {part.have} of {part.size} of {entry.path}")

    def _copy(self, stream: Stream, part: Part) -> None:
        window_began, window_bytes = time.monotonic(), 0
        while True:
            self.stop.check()
            data = _read(stream)
            if not data:
                return
            part.append(data)
            window_bytes += len(data)
            elapsed = time.monotonic() - window_began
            if elapsed >= self.limits.slow_window_s:
                if window_bytes < self.limits.slow_bytes:
                    raise Transient(f"{self.source.shown} trickles: {window_bytes} bytes in {elapsed:.0f} s")
                window_began, window_bytes = time.monotonic(), 0


def _read(stream: Stream) -> bytes:
    try:
        return stream.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Transient(f"the transfer broke: {error or error.__class__.__name__}") from error


def retried(source: Source, limits: Limits, ask: Callable[[], _T]) -> _T:
    """The answer to a small question, with the same patience a file gets."""
    tried = 0
    while True:
        try:
            return ask()
        except Transient as error:
            tried += 1
            if tried >= limits.tries:
                raise _unavailable(source, error, limits.tries) from error
            time.sleep(limits.pause_s(tried - 1, error.retry_after))


class Unavailable(Refused):
    """The source could not be asked at all; a copy that is verified already can do without."""


def _unavailable(source: Source, error: Transient, tries: int) -> Unavailable:
    return Unavailable(
        f"{error.what} ({tries} tries)",
        source.shown,
        "see that this host reaches it; what was fetched is kept",
    )
