"""A network that misbehaves: a proxy between a client and a server, which breaks what it relays."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Final

import trio

Fault = Callable[[bytes, trio.SocketStream], Awaitable[None]]
"""Gets what was said, and where it goes; whatever it raises ends the connection."""

ENDLESS: Final = 16 * 1024 * 1024
"""How much of what never ends is sent before it ends all the same, in bytes."""

TLS: Final = bytes.fromhex("160301020001") + bytes(range(256)) * 2


class Cut(Exception):
    """The connection is to be cut; `resets` tells whether the other side hears of that by RST."""

    def __init__(self, *, resets: bool) -> None:
        super().__init__()
        self.resets = resets


async def drip(data: bytes, sink: trio.SocketStream) -> None:
    """Pass it on byte by byte."""
    for byte in data:
        await sink.send_all(bytes([byte]))


async def oddly(data: bytes, sink: trio.SocketStream) -> None:
    """Pass it on in pieces that have nothing to do with what was sent."""
    chance = random.Random(len(data))  # noqa: S311 - to be repeated
    while data:
        size = chance.randint(1, 7)
        await sink.send_all(data[:size])
        data = data[size:]


async def swallow(_data: bytes, _sink: trio.SocketStream) -> None:
    """Pass on nothing, and say nothing of that: half-open, as after a router forgets."""
    await trio.lowlevel.checkpoint()


async def half(data: bytes, sink: trio.SocketStream) -> None:
    """Pass on the first half alone."""
    await sink.send_all(data[: len(data) // 2])


async def close(_data: bytes, _sink: trio.SocketStream) -> None:
    """Close instead."""
    await trio.lowlevel.checkpoint()
    raise Cut(resets=False)


async def reset(_data: bytes, _sink: trio.SocketStream) -> None:
    """Reset the connection instead."""
    await trio.lowlevel.checkpoint()
    raise Cut(resets=True)


async def half_and_close(data: bytes, sink: trio.SocketStream) -> None:
    """Close in the middle."""
    await half(data, sink)
    raise Cut(resets=False)


async def half_and_reset(data: bytes, sink: trio.SocketStream) -> None:
    """Reset the connection in the middle."""
    await half(data, sink)
    raise Cut(resets=True)


async def double(data: bytes, sink: trio.SocketStream) -> None:
    """Pass it on twice."""
    await sink.send_all(data + data)


async def swap(data: bytes, sink: trio.SocketStream) -> None:
    """Pass on the second half first."""
    middle = len(data) // 2
    await sink.send_all(data[middle:] + data[:middle])


async def babble_tls(_data: bytes, sink: trio.SocketStream) -> None:
    """Say something in TLS instead."""
    await sink.send_all(TLS)


async def _endlessly(start: bytes, part: bytes, _data: bytes, sink: trio.SocketStream) -> None:
    await sink.send_all(start)
    for _ in range(ENDLESS // len(part)):
        await sink.send_all(part)


endless_header = partial(_endlessly, b"HTTP/1.1 200 OK\r\nx: ", b"x" * 65536)
endless_headers = partial(_endlessly, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10000)
endless_chunks = partial(
    _endlessly,
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
    b"10000\r\n" + b" " * 65536 + b"\r\n",
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "drip": drip,
        "oddly": oddly,
        "swallow": swallow,
        "half": half,
        "close": close,
        "reset": reset,
        "half and close": half_and_close,
        "half and reset": half_and_reset,
        "double": double,
        "swap": swap,
        "tls": babble_tls,
        "endless header": endless_header,
        "endless headers": endless_headers,
        "endless chunks": endless_chunks,
    }
)


class Proxy:
    """Relays connections; what servers say, or clients, goes through a fault.

    Attributes:
        port: Where it listens.
        answers: What becomes of what the server says; None passes it on.
        requests: What becomes of what clients say.
        open: How many connections there are.
    """

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.port = port
        self.answers: Fault | None = None
        self.requests: Fault | None = None
        self.open = 0
        self._target = target

    async def relay(self, client: trio.SocketStream) -> None:
        """Relay one connection until it ends."""
        self.open += 1
        try:
            async with (
                client,
                await trio.open_tcp_stream(*self._target) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._pump, client, server, lambda: self.requests, nursery)
                nursery.start_soon(self._pump, server, client, lambda: self.answers, nursery)
        except OSError:
            return  # the server isn't there
        finally:
            self.open -= 1

    async def _pump(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        fault: Callable[[], Fault | None],
        nursery: trio.Nursery,
    ) -> None:
        try:
            while data := await source.receive_some():
                applied = fault()
                await (sink.send_all(data) if applied is None else applied(data, sink))
        except Cut as cut:
            if cut.resets:
                off = struct.pack("ii", 1, 0)
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, off)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def misbehaving(host: str, port: int) -> AsyncIterator[Proxy]:
    """Listen on a free port, and relay to an address until the block is left."""
    async with trio.open_nursery() as nursery:
        proxies: list[Proxy] = []

        async def handle(stream: trio.SocketStream) -> None:
            await proxies[0].relay(stream)

        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        proxies.append(Proxy(listener.socket.getsockname()[1], (host, port)))
        yield proxies[0]
        nursery.cancel_scope.cancel()
