"""The stdio transport: a channel of lines over the standard streams of a program.

Implements 2026-07-28, stdio. The process itself is :mod:`onemcp.backend.process`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from onemcp.protocol.framing import LineDecoder, Oversized

from .connection import ConnectionLost
from .process import (
    Process,
    ProcessError,
    ProcessInstance,
    ProcessSpec,
    StopPolicy,
    describe_exit,
    open_process,
)

READ_SIZE: Final = 64 * 1024
LAST_WORDS: Final = 5
"""How many lines of stderr the report of an exit repeats, for the operator."""

EXIT_GRACE: Final = 0.5
"""How long a program that has closed its output may take to exit, in seconds, to be told so."""


class StdioChannel:
    """Lines to and from a running program; see :class:`.duplex.Channel`."""

    def __init__(self, process: Process, limit: int) -> None:
        """Speak to a program, in lines of up to `limit` bytes."""
        self._process = process
        self._decoder = LineDecoder(limit)

    async def send(self, lines: bytes) -> None:
        """Write whole lines."""
        try:
            await self._process.stdin.send_all(lines)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise await self._ended("it closed its input") from None

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for lines."""
        while True:
            try:
                data = await self._process.stdout.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise await self._ended("it closed its output")
            lines = self._decoder.feed(data)
            if lines:
                return lines

    async def _ended(self, what: str) -> ConnectionLost:
        code = None
        with trio.move_on_after(EXIT_GRACE):
            code = await self._process.wait()
        detail = "\n".join(self._process.stderr_tail[-LAST_WORDS:])
        reason = f"{what} and lives on" if code is None else f"it {describe_exit(code)}"
        return ConnectionLost(reason, detail or None)


@asynccontextmanager
async def open_stdio_channel(
    spec: ProcessSpec,
    *,
    instance: ProcessInstance,
    stop: StopPolicy,
    limit: int,
    on_stderr: Callable[[str], object],
) -> AsyncIterator[StdioChannel]:
    """Start a program and yield the channel to it; leaving the block ends it and all its kin.

    Args:
        spec: What to start.
        instance: The identity of this run of the gateway.
        stop: How patiently to stop the program.
        limit: The largest message, in bytes.
        on_stderr: Takes what the program writes to stderr, line by line.

    Raises:
        ConnectionLost: The program could not be started, or not be ended.
    """
    try:
        async with open_process(spec, instance=instance, stop=stop, on_stderr=on_stderr) as process:
            yield StdioChannel(process, limit)
    except ProcessError as error:
        raise ConnectionLost(str(error)) from error
