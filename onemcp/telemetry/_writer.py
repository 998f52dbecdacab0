"""Write lines to a stream that may be slow, without waiting for it.

Theory of operation: a pipe whose reader does not read, or a terminal that somebody has stopped,
would stop whoever writes, and with it every client. So a thread of its own writes, straight to the
file descriptor; what it has not written yet is bounded, and what goes beyond is left out and
counted. The thread is a daemon: it does not keep the process alive.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""How much may wait to be written."""

CLOSE_SECONDS: Final = 2.0
"""How long the rest may take to be written in the end."""

_POLL_SECONDS: Final = 1.0


class BackgroundWriter:
    """Takes text as a stream does, and never blocks.

    Attributes:
        on_dropped: Called, by the thread, with how many pieces of text were left out, once there
            is room again.
    """

    def __init__(self, stream: TextIO, most: int = MOST_CHARACTERS) -> None:
        """Write to a stream.

        Args:
            stream: The stream; nobody else should write to it meanwhile.
            most: How many characters may wait.
        """
        self.on_dropped: Callable[[int], object] = lambda _: None
        self._stream = stream
        self._most = most
        self._news = threading.Condition()
        self._waiting: list[str] = []
        self._size = 0
        self._dropped = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, text: str) -> int:
        """Take text, to be written as soon as that is possible."""
        with self._news:
            if self._closing or (self._waiting and self._size + len(text) > self._most):
                self._dropped += 1
                return len(text)
            self._waiting.append(text)
            self._size += len(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._news.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: everything is on its way."""

    def isatty(self) -> bool:
        """Tell whether a person looks at it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what is left, unless that takes too long."""
        with self._news:
            self._closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._waiting or self._closing):
                    self._news.wait()
                text = "".join(self._waiting)
                size, dropped = self._size, self._dropped
                self._waiting.clear()
                self._dropped = 0
            if text:
                self._write(text)
            with self._news:
                self._size -= size  # it counts until it is written
                is_over = self._closing and not self._waiting
            if dropped:
                self.on_dropped(dropped)
            if is_over:
                return

    def _write(self, text: str) -> None:
        try:
            descriptor = self._stream.fileno()
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            data = memoryview(text.encode(encoding, "backslashreplace"))
            while data:
                data = data[_write_some(descriptor, data) :]
        except (OSError, ValueError):
            return  # Closed, full or gone: there is nobody to tell.


def _write_some(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # somebody has made it non-blocking
        select.select([], [descriptor], [], _POLL_SECONDS)
        return 0
