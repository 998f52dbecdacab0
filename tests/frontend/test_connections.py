"""The connections under the requests: how long they last, and what becomes of bad ones."""

from __future__ import annotations

import logging
import socket
import ssl
from functools import partial
from typing import Any

import h11
import pytest
import trio

from onemcp.app import listener as listening
from onemcp.app.listener import KEEP_ALIVE_SECONDS, SETTLE_SECONDS, ConnectionFailed
from onemcp.frontend.http1.server import SEND_SECONDS
from onemcp.protocol.jsonrpc import Notification
from tests.frontend.site import (
    CALL,
    HEADERS,
    Client,
    Site,
    modern_headers,
    open_site,
    request,
    until,
    wait_for,
    with_meta,
)
from tests.multiplexer.fakes import nothing, result

LARGE = "x" * 8_000_000
finish = partial(result, era_fields=True)


async def test_a_silent_client_waits_for_its_answer_as_long_as_it_takes(
    autojump_clock: trio.abc.Clock,
):
    async with open_site() as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        waiting = [await site.begin_modern(CALL), await session.begin(CALL)]
        await wait_for(site.server, 2)
        await trio.sleep(59)
        assert site.server.cancelled == []
        for exchange in site.server.calls:
            finish({"said": "late"})(exchange)
        for client in waiting:
            await client.stream_begins()
            assert (await client.message())["result"]["said"] == "late"


async def ask_modern(client: Client, **more: str) -> Any:
    return await client.ask("POST", "/mcp", modern_headers(CALL) | more, with_meta(CALL))


@pytest.mark.parametrize("kind", ["modern", "legacy", "refused", "none"])
async def test_an_idle_connection_is_closed_in_the_end(autojump_clock: trio.abc.Clock, kind: str):
    async with open_site() as site:
        session = await site.open()
        client = await site.connect()
        match kind:
            case "modern":
                await ask_modern(client)
            case "legacy":
                await client.ask("POST", "/mcp", session.headers, request("ping"))
            case "refused":
                await client.ask("POST", "/none", HEADERS, CALL)
        begun = trio.current_time()
        with trio.fail_after(2 * KEEP_ALIVE_SECONDS):
            await client.ends()
        assert trio.current_time() - begun == pytest.approx(KEEP_ALIVE_SECONDS, abs=1)


@pytest.mark.requirement("basic/index#statelessness-1")
async def test_one_connection_carries_many_requests_of_both_eras(site: Site):
    session = await site.open()
    client = await site.connect()
    for _ in range(20):
        assert (await ask_modern(client)).status == 200
        assert (await client.ask("POST", "/mcp", session.headers, CALL)).status == 200
        assert (await client.ask("GET", "/mcp")).status == 405
        assert (await client.ask("POST", "/mcp", HEADERS, b"{")).status == 400


async def test_a_client_that_asks_for_the_end_of_its_connection_gets_it(site: Site):
    session = await site.open()
    with trio.fail_after(30):
        client = await site.connect()
        await ask_modern(client, connection="close")
        await client.ends()
        client = await site.connect()
        site.server.handlers["tools/call"] = nothing
        await client.begin("POST", "/mcp", session.headers | {"connection": "close"}, CALL)
        await wait_for(site.server, 2)
        site.server.last.deliver(Notification("notifications/x"))
        finish({})(site.server.last)
        await client.stream_begins()
        while await client.event():
            pass
        await client.ends()


async def test_pipelined_requests_are_served_one_after_another(site: Site):
    client = await site.connect()
    await client.begin("POST", "/none", HEADERS, CALL)
    second = f"GET /mcp HTTP/1.1\r\nhost: {site.host}\r\n\r\n"
    await client.stream.send_all(second.encode())
    assert (await client.answer()).status == 404
    rest = b""
    while b"405" not in rest:
        rest += client.http.trailing_data[0] or await client.stream.receive_some()


async def test_a_slow_reader_holds_up_nobody_and_is_given_up(autojump_clock: trio.abc.Clock):
    async with open_site() as site:
        site.server.handlers["tools/call"] = nothing
        slow = await site.begin_modern(CALL)
        await wait_for(site.server)
        site.server.last.deliver(Notification("notifications/x"))
        await slow.stream_begins()
        await slow.message()
        finish({"said": LARGE})(site.server.last)
        del site.server.handlers["tools/call"]
        assert (await site.post_modern(CALL)).status == 200
        await trio.sleep(SEND_SECONDS + 1)
        with pytest.raises((trio.BrokenResourceError, h11.RemoteProtocolError)):
            await slow.answer_body()
        assert site.events == []
        assert site.world.multiplexer.in_flight == 0


async def test_a_reader_that_is_slow_but_reads_gets_everything(autojump_clock: trio.abc.Clock):
    async with open_site() as site:
        site.server.handlers["tools/call"] = finish({"said": LARGE})
        client = await site.begin_modern(CALL)
        await client.head()
        size = naps = 0
        while isinstance(event := await client.next(), h11.Data):
            size += len(event.data)
            if size > naps * 2_000_000:
                naps += 1
                # The clock may jump on while the kernel has yet to tell that there is room again.
                await trio.sleep(SEND_SECONDS / 2)
        assert size > len(LARGE)
        assert naps >= 4


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(grace=3.0) as site:
        site.server.handlers["tools/call"] = finish({"said": LARGE})
        client = await site.begin_modern(CALL)
        await client.head()
        begun = trio.current_time()
        site.scope.cancel()
        with trio.fail_after(10):
            await site.stopped.wait()
        assert trio.current_time() - begun < 3.0 + 2 * SETTLE_SECONDS


async def test_what_is_in_flight_may_end_within_the_grace_period(autojump_clock: trio.abc.Clock):
    async with open_site(grace=60.0) as site:
        site.server.handlers["tools/call"] = nothing
        idle = await site.connect()
        await idle.ask("GET")
        session = await site.open()
        waiting = [await site.begin_modern(CALL), await session.begin(CALL)]
        await wait_for(site.server, 2)
        site.scope.cancel()
        await idle.ends()
        await trio.sleep(10)
        assert not site.stopped.is_set()
        for exchange in site.server.calls:
            finish({"said": "bye"})(exchange)
        for client in waiting:
            assert (await client.answer()).json["result"]["said"] == "bye"
        begun = trio.current_time()
        await site.stopped.wait()
        assert trio.current_time() - begun < 1


async def test_what_takes_longer_is_cut_off(autojump_clock: trio.abc.Clock):
    async with open_site(grace=5.0) as site:
        site.server.handlers["tools/call"] = nothing
        client = await site.begin_modern(CALL)
        await wait_for(site.server)
        begun = trio.current_time()
        site.scope.cancel()
        await client.ends()
        await site.stopped.wait()
        assert 5.0 <= trio.current_time() - begun <= 5.0 + 2 * SETTLE_SECONDS
        assert len(site.server.cancelled) == 1


async def test_nothing_is_accepted_once_it_stops_but_later_again(site: Site):
    site.scope.cancel()
    await site.stopped.wait()
    early = await site.connect()  # waits in the socket's own queue
    await early.begin("GET")
    site.scope, site.stopped = trio.CancelScope(), trio.Event()
    await site.serve()
    assert (await early.answer()).status == 405


async def _nothing_in_flight(ended: trio.Event) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_connection_that_fails_takes_no_other_one_down(monkeypatch: pytest.MonkeyPatch):
    events: list[ConnectionFailed] = []

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with listening.listen("127.0.0.1", 0) as listener:
        async with trio.open_nursery() as nursery:
            serve = partial(listening.serve, on_event=events.append)
            url = await nursery.start(serve, application, listener, 1.0, _nothing_in_flight)
            assert url == listening.url_of(listener, "")
            port = listener.getsockname()[1]
            with monkeypatch.context() as patch:
                patch.setattr("onemcp.frontend.http1.server.Http1Server._serve", broken)
                bad = Client(await trio.open_tcp_stream("127.0.0.1", port), "localhost")
                await bad.stream.send_all(b"x")
                await bad.ends()
                await bad.close()
                await until(lambda: bool(events))
            good = Client(await trio.open_tcp_stream("127.0.0.1", port), "localhost")
            assert (await good.ask("GET")).status == 204
            await good.close()
            nursery.cancel_scope.cancel()
    assert len(events) == 1


HOSTILE = [
    b"\x00\xff" * 1000,
    b"GET\r\n\r\n",
    b"GET /mcp HTTP/9.9\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nhost\r\n\r\n",
    b"GET /mcp\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}GARBAGE\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    (
        b"GET /mcp HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
        b"http2-settings: %%%\r\n\r\n"
    ),
    b"GET /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_bytes_end_their_own_connection_only(
    site: Site, data: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.INFO)
    client = await site.connect()
    with trio.fail_after(30):
        try:
            await client.stream.send_all(data)
            await client.stream.send_eof()
            await client.ends()
        except trio.BrokenResourceError:
            pass
    assert (await site.post_modern(CALL)).status == 200
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("when", ["head", "body", "waiting", "streaming", "idle", "session"])
async def test_aborted_connections_are_nothing_to_write_home_about(
    site: Site,
    when: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    caplog.set_level(logging.INFO)
    site.server.handlers["tools/call"] = nothing
    client = await site.connect()
    match when:
        case "head":
            await client.stream.send_all(b"POST /mcp HTT")
        case "body":
            head = f"POST /mcp HTTP/1.1\r\nhost: {site.host}\r\ncontent-length: 9\r\n"
            await client.stream.send_all(f"{head}content-type: application/json\r\n\r\n{{".encode())
        case "waiting":
            client = await site.begin_modern(CALL)
            await wait_for(site.server)
        case "streaming":
            client = await site.begin_modern(CALL)
            await wait_for(site.server)
            site.server.last.deliver(Notification("notifications/x"))
            await client.stream_begins()
        case "idle":
            await client.ask("GET")
        case "session":
            client = await (await site.open()).listen()
    client.abort()
    if when in {"waiting", "streaming"}:
        await until(lambda: len(site.server.cancelled) == 1)
    del site.server.handlers["tools/call"]
    assert (await site.post_modern(CALL)).status == 200
    site.scope.cancel()
    await site.stopped.wait()
    assert site.events == []
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


# --- sockets ---------------------------------------------------------------------------------


def test_an_address_that_is_in_use_or_not_ours_is_an_error():
    with listening.listen("127.0.0.1", 0) as listener:
        host, port = listening.address_of(listener)
        with pytest.raises(OSError, match="in use"):
            listening.listen(host, port)
    with pytest.raises(OSError, match=r"\S"):
        listening.listen("192.0.2.1", 0)


def test_urls_of_both_families_are_written_as_they_should():
    with listening.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert listening.url_of(listener, "/mcp") == f"http://127.0.0.1:{port}/mcp"
    if socket.has_ipv6:
        with listening.listen("::1", 0) as listener:
            port = listener.getsockname()[1]
            assert listening.url_of(listener, "/mcp") == f"http://[::1]:{port}/mcp"


async def test_tls_spoken_to_it_ends_the_connection(site: Site):
    context = ssl.create_default_context()
    stream = trio.SSLStream((await site.connect()).stream, context, server_hostname="localhost")
    with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()
