"""The stdio transport: a channel of lines over the standard streams of a program.

Implements 2026-07-28, stdio. The process itself is :mod:`onemcp.backend.process`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio
from trio.lowlevel import FdStream as Pipe

from onemcp.protocol.framing import LineDecoder, Oversized

from .connection import ConnectionLost
from .process import (
    Process,
    ProcessError,
    ProcessInstance,
    ProcessSpec,
    ProcessStartError,
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

    @property
    def pid(self) -> int:
        """The id of the program's process, and of the session that it leads."""
        return self._process.pid

    async def send(self, lines: bytes) -> None:
        """Write whole lines, waiting only while the pipe has no room for them."""
        stdin, left = self._process.stdin, memoryview(lines)
        try:
            while left:
                try:
                    left = left[os.write(_descriptor(stdin), left) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(_descriptor(stdin))
        except (OSError, trio.ClosedResourceError):
            raise await self._ended("it closed its input") from None

    def send_nowait(self, lines: bytes) -> bytes:
        """Write what the pipe has room for, and return the rest."""
        try:
            return lines[os.write(_descriptor(self._process.stdin), lines) :]
        except (OSError, trio.ClosedResourceError):
            return lines

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for lines."""
        while True:
            data = await self._read()
            lines = self._decoder.feed(data) if data else self._rest()
            if lines:
                return lines
            if not data:
                raise await self._ended("it closed its output")

    async def _read(self) -> bytes:
        """Wait for bytes; none at the end. One pass of the loop and one system call each time."""
        stdout = self._process.stdout
        while True:
            try:
                await trio.lowlevel.wait_readable(_descriptor(stdout))
                return os.read(_descriptor(stdout), READ_SIZE)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return b""

    def _rest(self) -> list[bytes | Oversized]:
        """Return the last line where the program has ended without ending it."""
        line = self._decoder.finish()
        return [] if line is None else [line]

    async def _ended(self, what: str) -> ConnectionLost:
        # The whole tree may take long to end; how the program itself has ended is known before.
        with trio.move_on_after(EXIT_GRACE):
            await self._exited()
        code = _exit_code(self._process)
        detail = "\n".join(self._process.stderr_tail[-LAST_WORDS:])
        reason = f"{what} and lives on" if code is None else f"it {describe_exit(code)}"
        if code == -signal.SIGXCPU and self._process.spec.cpu is not None:
            cpu = self._process.spec.cpu
            reason = f"it used up the {cpu} s of processor time that limits.cpu allows"
        return ConnectionLost(reason, detail or None)

    async def _exited(self) -> None:
        with suppress(ProcessError):  # leaving the block reports what is left behind
            await self._process.wait()


def _descriptor(pipe: Pipe) -> int:
    """Return the descriptor of a pipe.

    Raises:
        trio.ClosedResourceError: It is closed.
    """
    descriptor = pipe.fileno()
    if descriptor < 0:
        raise trio.ClosedResourceError
    return descriptor


def _exit_code(process: Process) -> int | None:
    """Return how a program has ended, be some of its children alive or not; None if it lives."""
    if process.exit_code is not None or not hasattr(os, "waitid"):
        return process.exit_code
    try:
        # WNOWAIT leaves it to be reaped by whom it belongs to.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return process.exit_code
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


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
    except ProcessStartError as error:
        reason = f"cannot start {error.program!r}: {error.reason}. {error.remedy}"
        raise ConnectionLost(reason, f"PATH is {error.path}") from error
    except ProcessError as error:
        raise ConnectionLost(str(error)) from error
