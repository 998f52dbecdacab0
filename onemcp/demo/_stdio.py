"""Connect the server to a pair of file descriptors, without threads and without an event loop."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from typing import Final

from onemcp.protocol.framing import LineDecoder

from ._server import DemoServer

LINE_LIMIT: Final = 1024 * 1024
CHUNK: Final = 64 * 1024
INTERRUPTED: Final = 130
"""The exit code of a program that SIGINT ended, as shells count."""


def serve(source: int, sink: int) -> int:
    """Serve until the client closes its end.

    Args:
        source: Where messages are read.
        sink: Where messages are written.

    Returns:
        The exit code.
    """
    try:
        _serve(DemoServer(), LineDecoder(LINE_LIMIT), source, sink)
    except BrokenPipeError:
        return 0  # The client has gone without a word: nobody is left to tell.
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _serve(server: DemoServer, decoder: LineDecoder, source: int, sink: int) -> None:
    while True:
        patience = None if server.due is None else max(0.0, server.due - time.monotonic())
        ready, _, _ = select.select([source], [], [], patience)
        if ready:
            data = os.read(source, CHUNK)
            for line in decoder.feed(data):
                _write(sink, server.receive(line, time.monotonic()))
            if not data:
                last = decoder.finish()
                if last is not None:
                    _write(sink, server.receive(last, time.monotonic()))
                return
        _write(sink, server.advance(time.monotonic()))


def _write(sink: int, messages: Iterable[bytes]) -> None:
    rest = memoryview(b"".join(message + b"\n" for message in messages))
    while rest:
        try:
            rest = rest[os.write(sink, rest) :]
        except BlockingIOError:  # Whoever holds the other end of a terminal may have made it so.
            select.select([], [sink], [])
