"""Requests over kept connections: to scripted servers in memory, and over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from onemcp.backend.http1 import (
    ConnectError,
    ConnectionBroke,
    LocalProtocolError,
    Origin,
    Pool,
    RemoteProtocolError,
    Response,
)
from onemcp.backend.http1._pool import CONNECT_SECONDS, KEEPALIVE_SECONDS
from onemcp.backend.http1._request import write_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A connection on which a server says what it is told to, one piece for each read."""

    def __init__(self, *pieces: bytes | Exception, takes: bool = True) -> None:
        self.pieces = list(pieces)
        self.sent: list[bytes] = []
        self.takes = takes
        self.is_closed = False
        self.quiet = True

    async def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return self.takes

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.pieces:
            await trio.sleep_forever()
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def is_quiet(self) -> bool:
        return self.quiet

    def close(self) -> None:
        self.is_closed = True


class World:
    """An origin whose connections are scripted; each connection is one of them."""

    authority = b"backend.example"

    def __init__(self, *wires: Scripted) -> None:
        self.wires = wires
        self.made = 0

    async def connect(self) -> Scripted:
        await trio.lowlevel.checkpoint()
        self.made += 1
        return self.wires[self.made - 1]


def pool_of(*wires: Scripted, limit: int = 4) -> tuple[Pool, World]:
    world = World(*wires)
    return Pool(world, limit), world  # type: ignore[arg-type]  # it has what an origin has


async def ask(pool: Pool) -> Response:
    return await pool.request(b"POST", b"/mcp", [(b"x", b"y")], b"{}")


async def whole(response: Response) -> bytes:
    parts = b""
    while part := await response.part():
        parts += part
    response.close()
    return parts


# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"abc"])
def test_a_request_is_read_as_it_was_written(content: bytes | None):
    data = write_request(b"POST", b"/a?b=c", b"here:1", [(b"x-y", b"z \xff")], content)
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/a?b=c")
    length = [] if content is None else [(b"content-length", b"%d" % len(content))]
    assert list(request.headers) == [(b"host", b"here:1"), (b"x-y", b"z \xff"), *length]
    body = server.next_event()
    assert bytes(body.data) == content if content else isinstance(body, h11.EndOfMessage)


@pytest.mark.parametrize(
    "request_parts",
    [
        (b"GET", b"/\r\nX: y", b"here", []),
        (b"GET", b"/a b", b"here", []),
        (b"GET", b"/\xff", b"here", []),
        (b"GET", b"", b"here", []),
        (b"G T", b"/", b"here", []),
        (b"GET", b"/", b"here\r\nx: y", []),
        (b"GET", b"/", b"here", [(b"a", b"b\r\nc: d")]),
        (b"GET", b"/", b"here", [(b"a", b"b\nc: d")]),
        (b"GET", b"/", b"here", [(b"a", b"b\rc")]),
        (b"GET", b"/", b"here", [(b"a", b"b\0c")]),
        (b"GET", b"/", b"here", [(b"a b", b"c")]),
        (b"GET", b"/", b"here", [(b"", b"c")]),
        (b"GET", b"/", b"here", [(b"a: b\r\nc", b"d")]),
    ],
)
def test_nothing_is_smuggled_into_requests(request_parts: Any):
    with pytest.raises(LocalProtocolError):
        write_request(*request_parts, None)


# --- connections ---------------------------------------------------------------------------------


async def test_a_connection_takes_one_request_after_the_other():
    wire = Scripted(OK, OK[:20], OK[20:])
    pool, world = pool_of(wire)
    for _ in range(2):
        assert await whole(await ask(pool)) == b"ok"
    assert (world.made, len(wire.sent), pool.in_use) == (1, 2, 0)
    pool.close()
    assert wire.is_closed


async def test_requests_at_once_have_connections_of_their_own_within_the_limit():
    wires = [Scripted(OK, OK) for _ in range(2)]
    pool, world = pool_of(*wires, limit=2)
    first, second = await ask(pool), await ask(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        assert (world.made, pool.in_use) == (2, 2)
        await whole(second)
    assert len(wires[1].sent) == 2
    first.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\n",
    ],
)
async def test_a_connection_that_may_not_be_used_again_is_closed(response: bytes):
    wires = Scripted(response), Scripted(OK)
    pool, world = pool_of(*wires)
    assert await whole(await ask(pool)) == b"ok"
    assert wires[0].is_closed
    assert await whole(await ask(pool)) == b"ok"
    assert world.made == 2


async def test_a_body_that_was_not_read_to_its_end_closes_the_connection():
    wire = Scripted(OK[:-1])
    pool, _ = pool_of(wire)
    response = await ask(pool)
    assert await response.part() == b"o"
    response.close()
    assert wire.is_closed
    with pytest.raises(ConnectionBroke):
        await response.part()
    response.close()
    assert pool.in_use == 0


async def test_a_body_may_end_with_the_connection():
    pool, _ = pool_of(Scripted(b"HTTP/1.1 200 OK\r\n\r\na", b"b", b""))
    assert await whole(await ask(pool)) == b"ab"


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used():
    wires = Scripted(OK), Scripted(OK)
    pool, world = pool_of(*wires)
    await whole(await ask(pool))
    wires[0].quiet = False
    await whole(await ask(pool))
    assert (world.made, len(wires[0].sent)) == (2, 1)
    assert wires[0].is_closed


async def test_a_request_of_which_the_server_took_nothing_is_sent_again_over_another_connection():
    wires = Scripted(OK), Scripted(OK)
    pool, world = pool_of(*wires)
    await whole(await ask(pool))
    wires[0].takes = False
    assert await whole(await ask(pool)) == b"ok"
    assert world.made == 2


@pytest.mark.parametrize("end", [b"", OSError(), trio.BrokenResourceError()])
async def test_a_request_that_the_server_may_have_taken_is_never_sent_again(
    end: bytes | Exception,
):
    wires = Scripted(OK, end), Scripted(OK)
    pool, world = pool_of(*wires)
    await whole(await ask(pool))
    with pytest.raises((RemoteProtocolError, ConnectionBroke)):
        await ask(pool)
    assert (world.made, pool.in_use) == (1, 0)
    assert wires[0].is_closed


async def test_a_new_connection_that_takes_nothing_is_none():
    pool, _ = pool_of(Scripted(takes=False))
    with pytest.raises(ConnectError):
        await ask(pool)


async def test_a_request_that_is_given_up_closes_its_connection():
    wire = Scripted()
    pool, _ = pool_of(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert wire.is_closed
    assert pool.in_use == 0


async def test_a_request_that_was_given_up_before_is_not_sent():
    wire = Scripted(OK, OK)
    pool, _ = pool_of(wire)
    await whole(await ask(pool))
    with trio.CancelScope() as scope:
        scope.cancel()
        await ask(pool)
    assert len(wire.sent) == 1
    assert await whole(await ask(pool)) == b"ok"


async def test_idle_connections_are_not_kept_for_long(autojump_clock: trio.abc.Clock):
    wires = [Scripted(OK, OK), Scripted(OK)]
    pool, world = pool_of(*wires)
    await whole(await ask(pool))
    await trio.sleep(KEEPALIVE_SECONDS - 0.1)
    await whole(await ask(pool))
    assert world.made == 1
    await trio.sleep(KEEPALIVE_SECONDS)
    await whole(await ask(pool))
    assert world.made == 2
    assert wires[0].is_closed


async def test_a_connection_that_comes_back_to_a_closed_pool_is_closed():
    wire = Scripted(OK)
    pool, _ = pool_of(wire)
    response = await ask(pool)
    pool.close()
    await whole(response)
    assert wire.is_closed


async def test_making_a_connection_is_bounded(autojump_clock: trio.abc.Clock):
    world = World()
    world.connect = trio.sleep_forever  # type: ignore[method-assign]
    pool, since = Pool(world, 1), trio.current_time()  # type: ignore[arg-type]
    with pytest.raises(ConnectError):
        await ask(pool)
    assert trio.current_time() - since == CONNECT_SECONDS


# --- real sockets --------------------------------------------------------------------------------


async def serve_one(stream: trio.abc.HalfCloseableStream | trio.abc.Stream, answer: bytes) -> None:
    """Read one request whose body is `{}`, and answer it."""
    data = b""
    while not data.endswith(b"{}"):
        data += await stream.receive_some()
    await stream.send_all(answer)


async def listening(nursery: trio.Nursery, serve: Callable[[Any], Any]) -> Origin:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return Origin("127.0.0.1", listener.socket.getsockname()[1], b"here")


async def test_a_server_is_reached_and_its_hanging_up_is_noticed():
    async def serve(stream: trio.SocketStream) -> None:
        await serve_one(stream, OK)

    async with trio.open_nursery() as nursery:
        pool = Pool(await listening(nursery, serve), 1)
        for _ in range(3):
            assert await whole(await ask(pool)) == b"ok"
            await wait_all_tasks_blocked()
        pool.close()
        nursery.cancel_scope.cancel()


async def test_a_large_body_goes_through_and_an_answer_that_comes_before_its_end_is_read():
    large = b"x" * 8_000_000

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        data = 0
        while data < len(large) // 2:
            data += len(await stream.receive_some())
        await stream.send_all(OK)
        await stream.send_eof()
        while await stream.receive_some():
            pass

    async with trio.open_nursery() as nursery:
        pool = Pool(await listening(nursery, serve), 1)
        response = await pool.request(b"POST", b"/", [], large)
        assert await whole(response) == b"ok"
        pool.close()
        nursery.cancel_scope.cancel()


async def test_servers_are_reached_over_tls_and_must_be_trusted():
    authority = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, theirs, server_side=True, https_compatible=True)
        try:
            for _ in range(2):
                await serve_one(secured, OK)
            await secured.aclose()
        except trio.BrokenResourceError:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        plain = await listening(nursery, serve)
        origin = Origin(plain.host, plain.port, b"here", ours)
        with pytest.raises(ConnectError) as refused:
            await ask(Pool(origin, 1))
        assert isinstance(refused.value.__cause__, trio.BrokenResourceError)
        authority.configure_trust(ours)
        pool = Pool(origin, 1)
        for _ in range(3):
            assert await whole(await ask(pool)) == b"ok"
            await wait_all_tasks_blocked()
        pool.close()
        nursery.cancel_scope.cancel()


async def test_servers_are_reached_by_sockets_of_the_file_system(short_folder: Path):
    path = short_folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        pool = Pool(Origin("unused", 0, b"here", None, path), 1)
        assert await whole(await ask(pool)) == b"ok"
        pool.close()
        await trio.to_thread.run_sync(thread.join)
