"""Calls that a test holds up inside a backend, for as long as it likes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

BACKLOG = 64


class Held:
    """A call that has arrived at a backend and waits there.

    Attributes:
        pid: The process that serves it.
        label: What that process was told to call itself.
    """

    def __init__(self, stream: trio.SocketStream, pid: int, label: str) -> None:
        self.pid = pid
        self.label = label
        self._stream = stream

    async def release(self) -> None:
        """Let the call be answered."""
        await self._stream.send_all(b"!")


class Gate:
    """Where the tool `hold` of `tests/e2e/programs/backend.py` reports and waits.

    Attributes:
        port: Its port.
    """

    def __init__(self, port: int, arrivals: trio.MemoryReceiveChannel[Held]) -> None:
        self.port = port
        self._arrivals = arrivals

    async def arrived(self) -> Held:
        """Wait for the next call that is held up."""
        return await self._arrivals.receive()


@asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    """Open a gate; what is still held when the block is left is let go unanswered."""
    send, receive = trio.open_memory_channel[Held](BACKLOG)

    async def serve(stream: trio.SocketStream) -> None:
        line = b""
        while not line.endswith(b"\n"):
            chunk = await stream.receive_some()
            if not chunk:
                return
            line += chunk
        about = json.loads(line)
        await send.send(Held(stream, about["pid"], about["label"]))
        # Until the backend hangs up, or the test is over.
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield Gate(listeners[0].socket.getsockname()[1], receive)
        nursery.cancel_scope.cancel()
