"""Connections over real sockets, with applications that do one thing each."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

from onemcp.frontend.http1 import Connections, Http1Server
from onemcp.frontend.http1.exchange import RESPOND, TELLS, WHOLE_BODY
from onemcp.frontend.http1.patience import LEAST_RATE
from onemcp.frontend.http1.server import PARTING_SECONDS, READ_SECONDS, SEND_SECONDS
from tests.frontend.site import until

GET = b"GET /a%20b?q HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
SLOW = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n"
Application = Callable[[Any, Any, Any], Awaitable[None]]


async def respond(send: Any, body: bytes = b"ok", status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, scope["method"].encode() + b" " + await read(receive))


@attrs.define
class Served:
    """A server and its clients."""

    port: int
    context: WorkerContext
    config: Config
    connections: Connections
    clients: list[trio.SocketStream] = attrs.field(factory=list)

    async def connect(self, data: bytes = b"") -> trio.SocketStream:
        client = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.clients.append(client)
        if data:
            await client.send_all(data)
        return client


@contextlib.asynccontextmanager
async def serving(
    application: Application, *, tells: bool = True, **settings: Any
) -> AsyncIterator[Served]:
    config = Config()
    config.errorlog = None
    for name, value in settings.items():
        setattr(config, name, value)
    context = WorkerContext(None)
    with Connections(context) as connections:
        connections.tells = tells and connections.tells
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.run)

            async def handle(stream: trio.SocketStream) -> None:
                wrapped = ASGIWrapper(application)
                state = LifespanState({"kept": 1})
                await Http1Server(
                    wrapped, config, context, state, stream, connections=connections
                ).run()

            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            port = listener.socket.getsockname()[1]
            served = Served(port, context, config, connections)
            try:
                yield served
            finally:
                for client in served.clients:
                    await trio.aclose_forcefully(client)
                nursery.cancel_scope.cancel()


async def receive(client: trio.SocketStream, responses: int = 1) -> bytes:
    """Receive some responses that have no more than their heads and two bytes each."""
    data = b""
    while data.count(b"\r\n\r\n") < responses or not data.endswith((b"ok", b"abc", b"\r\n\r\n")):
        part = await client.receive_some()
        assert part, data
        data += part
    return data


async def receive_all(client: trio.SocketStream) -> bytes:
    data = b""
    while part := await client.receive_some():
        data += part
    return data


# --- requests and responses ---------------------------------------------------------------------


async def test_an_application_gets_the_scope_that_asgi_describes():
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await respond(send)

    async with serving(application, root_path="/root") as served:
        await receive(await served.connect(GET))
    (scope,) = seen
    expected = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"q",
        "root_path": "/root",
        "headers": [(b"host", b"here")],
        "server": ("127.0.0.1", served.port),
        "state": {"kept": 1},
    }
    assert scope.items() >= expected.items()
    assert scope["client"][0] == "127.0.0.1"


async def test_requests_follow_each_other_on_a_connection():
    async with serving(echo) as served:
        client = await served.connect()
        for _ in range(3):
            await client.send_all(POST)
            assert (await receive(client)).endswith(b"POST abc")


async def test_pipelined_requests_are_answered_in_order():
    answered: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        answered.append(scope["query_string"])
        await respond(send)

    async with serving(application) as served:
        data = b"".join(b"GET /?%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(50))
        client = await served.connect(data)
        await receive(client, 50)
    assert answered == [b"%d" % n for n in range(50)]


@pytest.mark.parametrize("size", [1, 5])
async def test_a_body_comes_in_pieces(size: int):
    async with serving(echo) as served:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = await served.connect()
        data = head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        for start in range(0, len(data), size):
            await client.send_all(data[start : start + size])
            await trio.testing.wait_all_tasks_blocked()
        assert (await receive(client)).endswith(b"POST abc")


async def test_a_client_that_waits_is_told_to_continue():
    async with serving(echo) as served:
        client = await served.connect(SLOW + b"Expect: 100-continue\r\n\r\n")
        assert await client.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send_all(b"abc")
        assert (await receive(client)).endswith(b"POST abc")


async def test_a_client_that_waits_may_be_refused():
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, status=413)

    async with serving(application) as served:
        client = await served.connect(SLOW + b"Expect: 100-continue\r\n\r\n")
        assert (await receive_all(client)).startswith(b"HTTP/1.1 413")


async def test_a_response_may_be_a_stream():
    parts, given = trio.open_memory_channel[bytes](0)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for part in given:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(application) as served:
        client = await served.connect(GET)
        await parts.send(b"one")
        assert (await receive_part(client)).endswith(b"3\r\none\r\n")
        await parts.send(b"two")
        assert await receive_part(client) == b"3\r\ntwo\r\n"
        await parts.aclose()
        assert await receive_part(client) == b"0\r\n\r\n"


async def receive_part(client: trio.SocketStream) -> bytes:
    return bytes(await client.receive_some())


# --- who fails ----------------------------------------------------------------------------------


async def test_bytes_that_are_no_request_are_refused():
    async with serving(echo) as served:
        client = await served.connect(POST + b"\0\r\n" + b"x" * 1000)
        data = await receive_all(client)
    assert data.count(b"HTTP/1.1 200") == 1
    assert b"HTTP/1.1 400 Bad Request" in data


async def test_a_body_that_breaks_off_is_a_disconnect():
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())

    async with serving(application) as served:
        client = await served.connect(SLOW + b"\r\n")
        await client.send_eof()
        await receive_all(client)
    assert seen == [{"type": "http.disconnect"}]


async def test_a_body_that_has_come_whole_is_there_at_once():
    seen: list[bytes | None] = []
    begun = trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["extensions"].get(WHOLE_BODY))
        begun.set()
        await respond(send, await read(receive))  # it can still be received

    async with serving(application) as served:
        await receive(await served.connect(POST))
        begun = trio.Event()
        client = await served.connect(SLOW + b"\r\n")
        await begun.wait()
        await client.send_all(b"abc")
        await receive(client)
    assert seen == [b"abc", None]


async def test_a_body_that_is_malformed_is_a_disconnect():
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await respond(send)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(application) as served:
        await receive_all(await served.connect(head + b"x\r\n"))
    assert seen == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("begins", [False, True])
async def test_an_application_that_fails_is_logged_and_ends_the_connection(
    caplog: pytest.LogCaptureFixture, *, begins: bool
):
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ZeroDivisionError

    logger = logging.getLogger("http1-test")
    async with serving(application, errorlog=logger) as served:
        data = await receive_all(await served.connect(GET))
    assert data.startswith(b"HTTP/1.1 200" if begins else b"HTTP/1.1 500")
    assert not data.endswith(b"0\r\n\r\n")
    assert "ZeroDivisionError" in caplog.text


async def test_an_application_that_says_nothing_is_an_error():
    async def application(scope: Any, receive: Any, send: Any) -> None:
        pass

    async with serving(application) as served:
        data = await receive_all(await served.connect(GET))
    assert data.startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "http.response.trailers"}],
    ],
)
async def test_messages_out_of_order_are_errors(
    caplog: pytest.LogCaptureFixture, messages: list[dict[str, Any]]
):
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async with serving(application, errorlog=logging.getLogger("http1-test")) as served:
        data = await receive_all(await served.connect(GET))
    assert data.startswith(b"HTTP/1.1 500")
    assert "UnexpectedMessage" in caplog.text


async def test_a_response_can_be_sent_at_once(caplog: pytest.LogCaptureFixture):
    async def application(scope: Any, receive: Any, send: Any) -> None:
        send_whole = scope["extensions"][RESPOND]
        await send_whole(201, [(b"content-length", b"2"), (b"a", b"b")], b"ok")
        await send_whole(200, [], b"another")

    async with serving(application, errorlog=logging.getLogger("http1-test")) as served:
        client = await served.connect(GET)
        for _ in range(2):  # the connection goes on
            head, _, body = (await receive(client)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\na: b\r\n")
            assert body == b"ok"
            await client.send_all(GET)
    assert "unexpected message 'onemcp.respond' after the response" in caplog.text


async def test_other_names_are_not_served():
    async with serving(echo, server_names=["there"]) as served:
        data = await receive_all(await served.connect(GET))
    assert data.startswith(b"HTTP/1.1 404")


async def test_requests_are_logged_where_that_is_wanted(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("http1-access")
    logger.setLevel("INFO")
    async with serving(echo, accesslog=logger) as served:
        await receive(await served.connect(POST))
        await until(lambda: "POST / 1.1" in caplog.text)


# --- who hangs up -------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", [True, False])
async def test_an_application_hears_that_the_client_hangs_up(*, tells: bool):
    seen: list[Any] = []
    heard = trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await read(receive)
        assert (TELLS in scope["extensions"]) is served.connections.tells
        seen.append(await receive())
        heard.set()

    async with serving(application, tells=tells) as served:
        client = await served.connect(POST)
        await client.aclose()
        await heard.wait()
    assert seen == [{"type": "http.disconnect"}]


async def test_an_application_is_told_of_a_hang_up_at_once():
    inside, over = trio.Event(), trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        with trio.CancelScope() as cancelled:
            scope["extensions"][TELLS](cancelled.cancel)
            inside.set()
            await trio.sleep_forever()
        late: list[bool] = []
        scope["extensions"][TELLS](lambda: late.append(True))
        assert late == [True]
        over.set()

    async with serving(application) as served:
        client = await served.connect(POST + GET)  # bytes that nobody has read don't hide it
        await inside.wait()
        await client.aclose()
        await over.wait()
        with trio.fail_after(10):
            while len(served.connections):
                await trio.lowlevel.checkpoint()


async def test_an_application_is_told_nothing_that_it_wants_no_more():
    over = trio.Event()
    inside = trio.Event()
    told: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][TELLS](lambda: told.append(True))
        scope["extensions"][TELLS](None)
        inside.set()
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        over.set()

    async with serving(application) as served:
        client = await served.connect(GET)
        await inside.wait()
        await client.aclose()
        await over.wait()
    assert told == []


async def test_what_is_sent_to_nobody_raises_oserror():
    raised: list[BaseException] = []
    over = trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await read(receive)
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 9999, "more_body": True})
        except OSError as error:
            raised.append(error)
            over.set()
            raise

    async with serving(application) as served:
        client = await served.connect(POST)
        linger = b"\x01\0\0\0\0\0\0\0"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.socket.close()
        await over.wait()
    assert raised


# --- time ---------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed(autojump_clock: trio.abc.Clock):
    async with serving(echo, keep_alive_timeout=20.0) as served:
        client = await served.connect(POST)
        await receive(client)
        begun = trio.current_time()
        assert await receive_all(client) == b""
        assert trio.current_time() - begun == pytest.approx(20, abs=2)


@pytest.mark.parametrize("sent", [b"G", GET[:-1]])
async def test_a_head_that_does_not_end_is_not_waited_for(
    autojump_clock: trio.abc.Clock, sent: bytes
):
    async with serving(echo, keep_alive_timeout=500.0) as served:
        client = await served.connect(sent)
        assert await receive_all(client) == b""
        assert trio.current_time() == pytest.approx(READ_SECONDS, abs=2)


@pytest.mark.parametrize(("size", "seconds"), [(1, 5), (LEAST_RATE, 7), (3 * LEAST_RATE, 11)])
async def test_a_body_may_take_long_while_enough_of_it_comes(
    autojump_clock: trio.abc.Clock, size: int, seconds: int
):
    async with serving(echo, read_timeout=5.0) as served:
        client = await served.connect(SLOW.replace(b"3", b"9999999") + b"\r\n")
        for _ in range(2):
            await trio.sleep(3)
            with contextlib.suppress(trio.BrokenResourceError):
                await client.send_all(b"x" * size)
        with contextlib.suppress(trio.BrokenResourceError):
            assert await receive_all(client) == b""
        assert trio.current_time() == pytest.approx(max(seconds, 6), abs=1.5)


async def long_response(ended: trio.Event, scope: Any, receive: Any, send: Any) -> None:
    """Respond with more than any buffer holds, and tell when that is over."""
    try:
        await respond(send, b"x" * 30_000_000)
    finally:
        ended.set()


@pytest.mark.parametrize(("size", "is_ended"), [(1, True), (64 * 1024, False)])
async def test_a_response_may_take_long_while_enough_of_it_is_read(
    autojump_clock: trio.abc.Clock, size: int, *, is_ended: bool
):
    ended = trio.Event()
    async with serving(partial(long_response, ended)) as served:
        client = await served.connect(GET)
        for _ in range(10):
            await trio.sleep(SEND_SECONDS / 5)
            with contextlib.suppress(trio.BrokenResourceError):
                await client.receive_some(size)
        assert ended.is_set() is is_ended


async def test_a_client_that_reads_nothing_is_given_up(autojump_clock: trio.abc.Clock):
    ended = trio.Event()
    async with serving(partial(long_response, ended)) as served:
        await served.connect(GET)
        await ended.wait()
        assert trio.current_time() == pytest.approx(SEND_SECONDS, abs=2)


async def test_an_application_may_take_as_long_as_it_likes(autojump_clock: trio.abc.Clock):
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(10_000)
        await respond(send)

    async with serving(application) as served:
        assert (await receive(await served.connect(GET))).endswith(b"ok")


# --- the end ------------------------------------------------------------------------------------


async def test_idle_connections_end_with_the_server_and_others_after_their_answer():
    inside, go_on = trio.Event(), trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            inside.set()
            await go_on.wait()
        await respond(send)

    async with serving(application) as served:
        idle, busy = await served.connect(POST), await served.connect(GET)
        await receive(idle)
        await inside.wait()
        await served.context.terminated.set()
        assert await receive_all(idle) == b""
        go_on.set()
        data = await receive_all(busy)
        assert data.endswith(b"ok")
        assert b"connection: close" in data


async def test_a_connection_that_was_just_used_may_bring_one_more_request_when_the_server_stops():
    async with serving(echo) as served:
        used, fresh = await served.connect(POST), await served.connect()
        await receive(used)
        await until(lambda: len(served.connections) == 2)
        await served.context.terminated.set()
        for client in (used, fresh):
            await client.send_all(POST * 2)
            data = await receive_all(client)
            assert data.count(b"HTTP/1.1 200") == data.count(b"connection: close") == 1


async def test_a_connection_that_was_not_used_for_long_ends_at_once_when_the_server_stops():
    async with serving(echo, keep_alive_timeout=PARTING_SECONDS) as served:
        clock, client = trio.current_time(), await served.connect(POST)
        await receive(client)
        [connection] = served.connections._all.values()
        connection.deadline = clock
        await served.context.terminated.set()
        assert await receive_all(client) == b""


async def test_a_request_that_has_come_when_its_connection_is_to_end_is_served():
    async with serving(echo) as served:
        client = await served.connect(POST)
        await receive(client)
        [connection] = served.connections._all.values()
        os.write(client.socket.fileno(), POST)
        connection.expire()
        assert (await receive(client)).endswith(b"abc")
        connection.expire()
        assert await receive_all(client) == b""


async def test_connections_may_be_worn_out():
    async with serving(echo, keep_alive_max_requests=2) as served:
        client = await served.connect(GET * 3)
        data = await receive_all(client)
    assert data.count(b"HTTP/1.1 200") == 2
    assert data.count(b"connection: close") == 1


async def test_an_old_client_gets_one_response():
    async with serving(echo) as served:
        data = await receive_all(await served.connect(b"GET / HTTP/1.0\r\n\r\n" + GET))
    assert data.count(b"HTTP/1.1 200") == 1
