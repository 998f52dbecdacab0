"""Whatever a backend does, one request fails with one clear error, and nothing hangs or leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from onemcp.backend import http1
from onemcp.backend.connection import ConnectionLost, HandshakeFailed, LoginRequired
from onemcp.backend.handshake import answer_of
from onemcp.backend.http import _courier as courier_module
from onemcp.backend.http import _reply as reply_module
from onemcp.backend.http._problems import translate
from onemcp.config import BackendLimits
from onemcp.protocol.errors import (
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    InternalError,
    MessageTooLarge,
    Overloaded,
)
from tests.backend.http.servers import (
    Modern,
    Visit,
    connected,
    refusal,
    serving,
)

HTML = "text/html; charset=utf-8"
PAGE = b"<html><style>p {color: red}</style><p>Oops\x1b[31m: token=hunter2</p>\n</html>"


async def _html(visit: Visit) -> None:
    await visit.answer(500, PAGE, HTML)


async def _html_that_is_fine(visit: Visit) -> None:
    await visit.answer(200, PAGE, HTML)


async def _accepted(visit: Visit) -> None:
    await visit.answer(202)


async def _empty(visit: Visit) -> None:
    await visit.answer(200, b"", "application/json")


async def _no_json(visit: Visit) -> None:
    await visit.answer(200, b"{", "application/json")


async def _no_response(visit: Visit) -> None:
    await visit.json({"jsonrpc": "2.0", "method": "notifications/x"})


async def _other_id(visit: Visit) -> None:
    await visit.json({"jsonrpc": "2.0", "id": 999, "result": {}})


async def _other_id_streamed(visit: Visit) -> None:
    await visit.stream()
    await visit.event({"jsonrpc": "2.0", "id": str(visit.message["id"]), "result": {}})
    await visit.end()


async def _garbage_events(visit: Visit) -> None:
    await visit.stream()
    await visit.event(b"hello", event="chatter")
    await visit.event(b"<html>")
    await visit.write(b"\xff\xfe: \x00\n\ndata\n\n")
    await visit.end()


async def _endless_garbage(visit: Visit) -> None:
    await visit.stream()
    for _ in range(courier_module.MAX_NONSENSE + 1):
        await visit.event([])
    await visit.gone()


async def _compressed(visit: Visit) -> None:
    await visit.answer(200, b"x", "application/json", ("content-encoding", "gzip"))


async def _compressed_stream(visit: Visit) -> None:
    await visit.stream(("content-encoding", "br"))
    await visit.end()


async def _elsewhere(visit: Visit) -> None:
    await visit.answer(307, b"", "", ("location", "https://login.example:8443/in?secret=1"))


async def _see_other(visit: Visit) -> None:
    await visit.answer(303, b"", "", ("location", "/other"))


async def _no_location(visit: Visit) -> None:
    await visit.answer(302)


async def _bad_location(visit: Visit) -> None:
    await visit.answer(302, b"", "", ("location", "http://[::1"))


async def _circle(visit: Visit) -> None:
    await visit.answer(308, b"", "", ("location", visit.path + "x"))


async def _login(visit: Visit) -> None:
    await visit.answer(401, b"", "", ("www-authenticate", "Bearer"))


async def _forbidden(visit: Visit) -> None:
    await visit.answer(403, b"Not you", "text/plain")


async def _limited(visit: Visit) -> None:
    await visit.answer(429)


async def _gateway(visit: Visit) -> None:
    await visit.answer(502, b"Bad Gateway", "text/plain")


async def _cut(visit: Visit) -> None:
    await visit.stream()
    await visit.write(b'data: {"jsonrpc"')
    raise ConnectionError


async def _cut_json(visit: Visit) -> None:
    await visit.begin(200, ("content-type", "application/json"))
    await visit.write(b'{"jsonrpc"')
    raise ConnectionError


async def _ended(visit: Visit) -> None:
    await visit.stream()
    await visit.note("notifications/x")
    await visit.end()


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        (_html, BackendProtocolError, "HTTP 500 (text/html): Oops [31m: token=***"),
        (_html_that_is_fine, BackendProtocolError, "HTTP 200 (text/html): Oops"),
        (_accepted, BackendProtocolError, "HTTP 202"),
        (_empty, BackendProtocolError, "nonsense"),
        (_no_json, BackendProtocolError, "nonsense"),
        (_no_response, BackendProtocolError, "no response"),
        (_other_id, BackendProtocolError, "the id 999"),
        (_other_id_streamed, BackendProtocolError, "the id '"),
        (_garbage_events, BackendProtocolError, "not MCP"),
        (_endless_garbage, BackendProtocolError, "not MCP"),
        (_compressed, BackendProtocolError, "compressed"),
        (_compressed_stream, BackendProtocolError, "compressed"),
        (_elsewhere, BackendProtocolError, "redirects to https://login.example:8443/in:"),
        (_see_other, BackendProtocolError, "redirects to http://127.0.0.1"),
        (_no_location, BackendProtocolError, "redirects"),
        (_bad_location, BackendProtocolError, "redirects to no URL"),
        (_circle, BackendProtocolError, "in circles"),
        (_login, BackendUnavailable, "login or a token"),
        (_forbidden, BackendUnavailable, "HTTP 403 (text/plain): Not you"),
        (_limited, Overloaded, "HTTP 429"),
        (_gateway, BackendLost, "HTTP 502 (text/plain): Bad Gateway"),
        (_cut, BackendLost, "broke"),
        (_cut_json, BackendLost, "broke"),
        (_ended, BackendLost, "ended before the answer"),
    ],
)
async def test_one_bad_answer_is_one_clear_error(
    handler: Any, error: type[Exception], words: str
) -> None:
    headers = {"Authorization": "Bearer hunter2"}
    async with connected(Modern(**{"tools/call": handler}), headers=headers) as live:
        found = await live.error("tools/call", name="t")
        assert found["code"] == error.code  # type: ignore[attr-defined]
        assert words in found["message"]
        assert "secret" not in found["message"]
        assert "hunter2" not in found["message"]
        assert len(found["message"]) < 400
        assert live.lost is None
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.connection.inbound.in_flight == 0


@pytest.mark.parametrize(
    ("handler", "kind", "words"),
    [
        (_html, HandshakeFailed, "HTTP 500"),
        (_html_that_is_fine, HandshakeFailed, "HTTP 200 (text/html)"),
        (_accepted, HandshakeFailed, "HTTP 202"),
        (_empty, HandshakeFailed, "nonsense"),
        (_other_id, HandshakeFailed, "the id 999"),
        (_elsewhere, HandshakeFailed, "redirects to https://login.example:8443/in:"),
        (_login, LoginRequired, "login or a token"),
        (_forbidden, LoginRequired, "login or a token"),
        (_gateway, ConnectionLost, "HTTP 502"),
        (_cut, ConnectionLost, "broke"),
        (_ended, ConnectionLost, "ended before the answer"),
    ],
)
async def test_a_handshake_fails_with_one_clear_reason(
    handler: Any, kind: type[ConnectionLost], words: str
) -> None:
    server = Modern(**{"server/discover": handler, "initialize": handler})
    async with serving(server) as url:
        reason = await refusal(url, headers={"Authorization": "Bearer hunter2"})
        assert type(reason) is kind
        assert words in reason.reason
        assert "hunter2" not in reason.reason


async def test_a_large_answer_is_not_read_to_its_end() -> None:
    gone = trio.Event()

    async def announced(visit: Visit) -> None:
        headers = (("content-type", "application/json"), ("content-length", "999999"))
        await visit.begin(200, *headers)
        await visit.gone()
        gone.set()

    async def flood(visit: Visit) -> None:
        await visit.begin(200, ("content-type", "application/json"))
        await _pour(visit)

    async def flood_events(visit: Visit) -> None:
        await visit.stream()
        await visit.write(b"data: ")
        await _pour(visit)

    limits = BackendLimits(message_bytes=4096)
    server = Modern(a=announced, b=flood, c=flood_events)
    async with connected(server, limits=limits) as live:
        for method in "abc":
            error = await live.error(method)
            assert error["code"] == MessageTooLarge.code
            assert "4096" in error["message"]
        await gone.wait()
        assert await live.result("tools/list") == {"did": "tools/list"}


async def _pour(visit: Visit) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def pour() -> None:
                while True:
                    await visit.write(b"x" * 1024)
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(pour)
            await visit.gone()
            scope.cancel()


async def test_the_body_of_an_error_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "ERROR_BODY_TIMEOUT", 0.05)

    async def hang(visit: Visit) -> None:
        await visit.begin(500, ("content-type", "text/plain"))
        await visit.write(b"Wait")
        await visit.gone()

    async with connected(Modern(a=hang)) as live:
        assert (await live.error("a"))["message"].endswith("HTTP 500 (text/plain): Wait")


async def test_the_body_of_an_error_may_break_off() -> None:
    async def cut(visit: Visit) -> None:
        await visit.begin(500, ("content-type", "text/plain"))
        await visit.write(b"Half")
        raise ConnectionError

    async with connected(Modern(a=cut)) as live:
        assert (await live.error("a"))["message"].endswith("HTTP 500 (text/plain): Half")


async def test_a_stream_that_stays_open_after_the_answer_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier_module, "LINGER", 0.05)
    gone = trio.Event()

    async def stay(visit: Visit) -> None:
        await visit.stream()
        await visit.event(visit.response({}))
        await visit.gone()
        gone.set()

    async with connected(Modern(a=stay)) as live:
        assert await live.result("a") == {}
        assert live.connection.inbound.in_flight == 0
        await gone.wait()


async def test_a_connection_that_breaks_after_the_answer_harms_nobody() -> None:
    async def cut(visit: Visit) -> None:
        await visit.stream()
        await visit.event(visit.response({}))
        raise ConnectionError

    async with connected(Modern(a=cut)) as live:
        for _ in range(3):
            assert await live.result("a") == {}


# --- leaks -------------------------------------------------------------------------------------


DESCRIPTORS = Path("/proc/self/fd")


def _descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir()))


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="needs /proc")
async def test_nothing_is_left_open() -> None:
    async def hang(visit: Visit) -> None:
        await visit.stream()
        await visit.gone()

    handlers = [_cut, _html, _elsewhere, _garbage_events, _ended, hang, _cut_json]
    before = None
    for _ in range(3):
        server = Modern(**{f"m{n}": handler for n, handler in enumerate(handlers)})
        async with connected(server) as live:
            exchanges = [live.open(f"m{n}") for n in range(len(handlers)) for _ in range(5)]
            for exchange in exchanges:
                if exchange.call.method != "m5":
                    await answer_of(exchange)
            for exchange in exchanges:
                exchange.close()
            await live.result("tools/list")
            pool = live.connection._current._client._pool  # type: ignore[attr-defined]
        assert repr(pool).endswith(" in_use=0 idle=0>")
        assert live.connection.inbound.in_flight == 0
        before = before or _descriptors()
        assert _descriptors() == before


def test_every_exception_of_the_http_client_is_translated() -> None:
    expected = {
        http1.ConnectError: BackendUnavailable,
        http1.ConnectTimeout: BackendUnavailable,
        http1.RemoteProtocolError: BackendLost,
        http1.ConnectionBroke: BackendLost,
        http1.LocalProtocolError: InternalError,
    }
    for kind, local in expected.items():
        problem = translate(kind("secret words"))
        assert type(problem.error) is local
        assert problem.unreachable is (local is BackendUnavailable)
        assert "secret" not in problem.reason
