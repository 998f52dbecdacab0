"""Bytes to a server and back, with and without TLS."""

from __future__ import annotations

import os
import select
from typing import Final, Protocol

import trio

READ_BYTES: Final = 64 * 1024

_buffer: Final = bytearray(READ_BYTES)
"""Shared by all connections: what is read into it is parsed before anything else happens."""


class Wire(Protocol):
    """A connection, to those who speak on it."""

    async def send(self, data: bytes) -> bool:
        """Send all that the server takes, whose answer may come before it has taken everything.

        Returns:
            Whether it may have got any of it.
        """

    async def receive(self) -> bytes | memoryview:
        """Wait for something, which must be looked at before anything else happens.

        Returns:
            What has come; nothing where the server has closed its side.

        Raises:
            OSError: The connection broke.
            trio.BrokenResourceError: As well.
        """

    def is_quiet(self) -> bool:
        """Tell whether the server has neither sent anything nor closed its side."""

    def close(self) -> None:
        """Close the connection at once."""


class PlainWire:
    """A connection without TLS, read and written without the checkpoints of streams."""

    __slots__ = ("_descriptor", "_socket", "_watched")

    def __init__(self, stream: trio.SocketStream) -> None:
        """Take a stream over."""
        self._socket = stream.socket
        self._descriptor = stream.socket.fileno()
        self._watched = _watched(self._socket)

    async def send(self, data: bytes) -> bool:
        """Send all that the server takes."""
        sent = self._send_some(data)
        if sent == len(data):
            return True
        if sent < 0:
            return False
        rest = memoryview(data)[sent:]
        while rest and sent >= 0:
            await trio.lowlevel.wait_writable(self._descriptor)
            sent = self._send_some(rest)
            rest = rest[max(sent, 0) :]
        return True

    def _send_some(self, data: bytes | memoryview) -> int:
        """Send what there is room for; a negative number where there won't be any more."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    async def receive(self) -> bytes | memoryview:
        """Wait for something."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return memoryview(_buffer)[: os.readv(self._descriptor, [_buffer])]
            except BlockingIOError:
                continue

    def is_quiet(self) -> bool:
        """Tell whether the server has neither sent anything nor closed its side."""
        return not self._watched.poll(0)

    def close(self) -> None:
        """Close the connection at once."""
        self._socket.close()


class TlsWire:
    """A connection with TLS."""

    __slots__ = ("_socket", "_stream", "_watched")

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        """Take a stream over whose handshake is done."""
        self._stream = stream
        self._socket = stream.transport_stream.socket
        self._watched = _watched(self._socket)

    async def send(self, data: bytes) -> bool:
        """Send all that the server takes; how much that is nobody can tell."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()
        return True

    async def receive(self) -> bytes | memoryview:
        """Wait for something."""
        return bytes(await self._stream.receive_some(READ_BYTES))

    def is_quiet(self) -> bool:
        """Tell whether the server has neither sent anything nor closed its side."""
        return not self._watched.poll(0)

    def close(self) -> None:
        """Close the connection at once; HTTP tells the end of a response by itself."""
        self._socket.close()


def _watched(sock: trio.socket.SocketType) -> select.poll:
    """Return what tells, in one system call, whether anything has come on a socket."""
    watched = select.poll()
    watched.register(sock.fileno(), select.POLLIN)
    return watched
