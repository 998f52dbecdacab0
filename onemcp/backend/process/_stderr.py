"""Bound what a program may say on stderr. Pure: the caller reads, and tells the time."""

import re
from collections import deque

from attrs import field, frozen, validators

_CUT = " [truncated]"
_TORN = re.compile(r" ?[^ ]{0,1024}\Z")
"""The word that a line is cut in: a part of a secret would not be known for one any more."""


@frozen
class StderrLimits:
    """How much of a program's stderr is kept and reported.

    Attributes:
        line: Bytes kept of one line.
        rate: Lines reported in a `window`; the others are counted.
        window: Seconds.
        tail: Last lines kept for error messages.
    """

    line: int = field(default=4096, validator=validators.ge(1))
    rate: int = field(default=200, validator=validators.ge(1))
    window: float = field(default=1.0, validator=validators.gt(0.0))
    tail: int = field(default=50, validator=validators.ge(1))


class StderrLog:
    """Split bytes into lines; keep the last ones; let a bounded number through.

    Args:
        limits: The bounds.
    """

    def __init__(self, limits: StderrLimits) -> None:
        self._limits = limits
        self._tail: deque[str] = deque(maxlen=limits.tail)
        self._partial = b""
        self._window_end = float("-inf")
        self._reported = 0
        self._dropped = 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, the unfinished one included."""
        if not self._partial:
            return tuple(self._tail)
        return (*self._tail, self._decode(self._partial))[-self._limits.tail :]

    @property
    def due(self) -> float:
        """When `feed` must be called at the latest: infinity, unless a count is to be reported."""
        return self._window_end if self._dropped else float("inf")

    def feed(self, data: bytes, now: float) -> list[str]:
        """Take what was read, maybe nothing, and return the lines to report."""
        report = self._open_window(now) if now >= self._window_end else []
        *lines, rest = data.split(b"\n")
        if not lines:
            self._append(rest)
            return report
        self._append(lines[0])
        lines[0] = self._partial
        self._partial = b""
        self._append(rest)
        # Only what is reported or kept is decoded: a flood costs a split and no more.
        self._tail.extend(map(self._decode, lines[-self._limits.tail :]))
        allowed = min(self._limits.rate - self._reported, len(lines))
        report.extend(map(self._decode, lines[:allowed]))
        self._reported += allowed
        self._dropped += len(lines) - allowed
        return report

    def close(self, now: float) -> list[str]:
        """Return what is left to report at the end of the stream."""
        report = self.feed(b"\n", now) if self._partial else []
        return report + self._open_window(now)

    def _open_window(self, now: float) -> list[str]:
        dropped, self._dropped = self._dropped, 0
        self._window_end, self._reported = now + self._limits.window, 0
        return [f"[{dropped} lines of stderr dropped]"] if dropped else []

    def _append(self, data: bytes) -> None:
        # One byte more than the limit tells that the line was longer.
        self._partial += data[: self._limits.line + 1 - len(self._partial)]

    def _decode(self, line: bytes) -> str:
        text = line[: self._limits.line].decode(errors="replace").removesuffix("\r")
        return _TORN.sub("", text) + _CUT if len(line) > self._limits.line else text
