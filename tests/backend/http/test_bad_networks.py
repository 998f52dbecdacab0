"""Backends that are down, elsewhere, not trusted, or want a login."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from onemcp.backend.connection import ConnectionLost, LoginRequired
from onemcp.backend.handshake import EraMemory, answer_of
from onemcp.backend.http import NotStreamable
from onemcp.protocol.errors import (
    BackendUnavailable,
)
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import (
    Legacy,
    Modern,
    Visit,
    connected,
    connecting,
    failure_of,
    refusal,
    serving,
    talking,
)


async def needs_login(visit: Visit) -> None:
    await visit.answer(401, b"", "", ("www-authenticate", "Bearer"))


# --- the network -------------------------------------------------------------------------------


async def _closed_port() -> str:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    return f"http://127.0.0.1:{port}/mcp"


@pytest.mark.parametrize("era", [None, Era.LEGACY, Era.MODERN])
async def test_a_backend_that_is_down_is_reported_and_nothing_is_learned(era: Era | None) -> None:
    memory = EraMemory(era)
    reason = await refusal(await _closed_port(), memory=memory)
    assert type(reason) is ConnectionLost
    assert reason.reason == "it can't be reached: it refuses connections"
    assert memory.era is era


async def test_an_unknown_host_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(trio.socket, "getaddrinfo", fail)
    reason = await refusal("http://backend.invalid/mcp")
    assert "host name is unknown" in reason.reason


async def test_a_backend_that_goes_down_ends_the_connection_in_the_end() -> None:
    async with trio.open_nursery() as nursery:
        scope, started = trio.CancelScope(), trio.Event()
        urls = []

        async def host() -> None:
            with scope:
                async with serving(Modern()) as url:
                    urls.append(url)
                    started.set()
                    await trio.sleep_forever()

        nursery.start_soon(host)
        await started.wait()
        async with connecting(urls[0]) as live:
            await live.result("tools/list")
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            codes = []
            while live.lost is None:
                exchange = live.open("tools/list")
                codes.append(failure_of(await answer_of(exchange))["code"])
                await trio.testing.wait_all_tasks_blocked()
            assert codes[-3:] == [BackendUnavailable.code] * 3
            assert live.lost.reason == "it can't be reached: it refuses connections"
            assert live.memory.era is Era.MODERN


async def test_a_backend_that_closes_without_a_word() -> None:
    async def close(stream: trio.SocketStream) -> None:
        data = b""
        while not data.endswith(b"}"):
            data += await stream.receive_some()

    async with talking(close) as url:
        reason = await refusal(url)
    assert type(reason) is ConnectionLost
    assert "broke off" in reason.reason


async def test_a_backend_that_speaks_something_else() -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 mail.example ESMTP\r\n\r\n")
        await trio.sleep_forever()

    async with talking(greet) as url:
        reason = await refusal(url)
    assert "something other than HTTP" in reason.reason


async def test_a_backend_that_hangs_is_stopped_by_the_callers_deadline() -> None:
    async def hang(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with talking(hang) as url:
        with trio.move_on_after(0.2) as patience:
            await refusal(url, probe=0.05)
    assert patience.cancelled_caught


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@asynccontextmanager
async def serving_securely(authority: trustme.CA) -> AsyncIterator[str]:
    """Serve HTTPS that wants a login, with a certificate of an authority of our own."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)

    async def secured(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_side, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            return
        while await tls.receive_some():
            await tls.send_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    async with talking(secured) as url:
        yield url.replace("http:", "https:")


@pytest.mark.parametrize("kind", [None, "sse"])
async def test_a_certificate_must_be_trusted(
    authority: trustme.CA, ca_file: Path, kind: str | None
) -> None:
    async with serving_securely(authority) as url:
        assert "certificate is not trusted" in (await refusal(url, kind=kind)).reason
        assert isinstance(await refusal(url, kind=kind, ca_file=ca_file), LoginRequired)

    async with serving(Modern()) as url:
        assert "speak TLS" in (await refusal(url.replace("http:", "https:"))).reason


async def test_the_certificate_file_of_the_environment_is_trusted(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with serving_securely(authority) as url:
        assert isinstance(await refusal(url), LoginRequired)
        # The backend's own file takes its place, and is all that is trusted.
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        assert "certificate is not trusted" in (await refusal(url, ca_file=other)).reason
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    reason = (await refusal("https://127.0.0.1:9/mcp")).reason
    assert reason == "SSL_CERT_FILE cannot be read: no such file or directory"


async def test_a_certificate_file_that_is_none_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    reason = (await refusal("https://127.0.0.1:9/mcp", ca_file=missing)).reason
    assert reason == f'"tls.caFile" {str(missing)!r} cannot be read: no such file or directory'
    for content in ("", "nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        missing.write_text(content)
        reason = (await refusal("https://127.0.0.1:9/mcp", ca_file=missing)).reason
        assert reason == f'"tls.caFile" {str(missing)!r} holds no certificate in PEM'
    assert "tls.caFile" in (await refusal("https://127.0.0.1:9/mcp", ca_file=tmp_path)).reason


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with connected(Modern()) as live:
        assert await live.result("tools/list") == {"did": "tools/list"}


async def test_redirects_within_the_origin_are_followed_once() -> None:
    async def slash(visit: Visit) -> None:
        if visit.path == "/mcp":
            await visit.answer(307, b"", "", ("location", "/mcp/"))
        else:
            await Modern().post(visit)

    server = Modern(**{"server/discover": slash, "tools/list": slash})
    async with connected(server) as live:
        await live.result("tools/list")
    paths = [(visit.what, visit.path) for visit in server.visits]
    assert paths == [
        ("server/discover", "/mcp"),
        ("server/discover", "/mcp/"),
        ("tools/list", "/mcp/"),
    ]


# --- a login -----------------------------------------------------------------------------------


async def test_a_login_that_expires_ends_the_connection() -> None:
    server = Modern()
    async with connected(server) as live:
        server.on("tools/call", needs_login)
        server.on("server/discover", needs_login)
        assert (await live.error("tools/call", name="t"))["code"] == BackendUnavailable.code
        await live.over.wait()
        assert isinstance(live.lost, LoginRequired)


async def test_a_login_for_one_tool_ends_nothing() -> None:
    server = Modern(**{"tools/call": needs_login})
    async with connected(server) as live:
        await live.error("tools/call", name="t")
        await server.seen("server/discover", 2)
        await live.result("tools/list")
        assert live.lost is None


# --- pins --------------------------------------------------------------------------------------


async def test_a_pinned_era_is_not_fallen_back_from() -> None:
    async def down(visit: Visit) -> None:
        await visit.answer(500)

    server = Legacy(**{"server/discover": down})
    async with serving(server) as url:
        reason = await refusal(url, pin="modern")
        assert "HTTP 500" in reason.reason
    assert server.of("initialize") == []


@pytest.mark.requirement("basic/transports/streamable-http#backward-compatibility-1")
async def test_a_modern_error_to_initialize_is_no_reason_to_try_older_transports() -> None:
    async def modern(visit: Visit) -> None:
        await visit.error(-32022, 400, {"supported": ["2026-07-28"]})

    server = Modern(initialize=modern)
    async with serving(server) as url:
        reason = await refusal(url, pin="legacy")
        assert not isinstance(reason, NotStreamable)
    assert server.of("GET") == []
