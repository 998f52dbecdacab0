"""Who and what comes in: paths, methods, bodies, credentials, origins, web pages."""

from __future__ import annotations

import time
from functools import partial

import h11
import pytest
import trio

from onemcp.auth import Gate, KeyStore, SigningKey, TokenVerifier, issue_token
from onemcp.frontend import (
    RequestDenied,
    RequestFailed,
    SessionUnknown,
    TokenAccepted,
    asgi,
    cors,
)
from onemcp.frontend.asgi import READ_SECONDS
from onemcp.multiplexer import View
from tests.frontend.site import (
    BOTH,
    CALL,
    HEADERS,
    LIMIT,
    Site,
    modern_headers,
    open_site,
    request,
    with_meta,
)

PAGE = "https://app.example.com"


# --- paths and methods -----------------------------------------------------------------------


@pytest.mark.requirement("basic/transports/streamable-http#introduction-1")
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp?x=1", "/mcp/alpha"])
async def test_endpoints_are_served(site: Site, path: str):
    assert (await site.post_modern(request("tools/list"), path)).status == 200


async def test_one_backend_alone_has_its_bare_names(site: Site):
    answer = await site.post_modern(request("tools/list"), "/mcp/alpha")
    assert [each["name"] for each in answer.json["result"]["tools"]] == ["t"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/mcp/none",
        "/mcp/alpha/x",
        "/mcpx",
        "/ssex",
        "/sse/none",
        "/messages/alpha",
        "/x/alpha",
    ],
)
async def test_unknown_paths_are_not_found_and_the_answer_names_what_there_is(
    site: Site, path: str
):
    answer = await site.post(CALL, path=path)
    assert answer.status == 404
    assert answer.message == "no such endpoint; there is /mcp, /mcp/alpha"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"])
async def test_other_methods_are_not_allowed(site: Site, method: str):
    client = await site.connect()
    await client.begin(method, headers=HEADERS)
    head = await client.head()
    assert head.status_code == 405
    assert dict(head.headers)[b"allow"] == b"POST, GET, DELETE"


@pytest.mark.requirement("basic/transports/streamable-http#earlier-streamable-http-revisions-1")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("more", [{}, {"mcp-protocol-version": "2026-07-28"}])
async def test_get_and_delete_belong_to_sessions(site: Site, method: str, more: dict[str, str]):
    answer = await site.ask(method, headers={"accept": "text/event-stream"} | more)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "Mcp-Session-Id" in answer.message


async def test_websockets_are_refused(site: Site):
    sent = []

    async def send(message):
        sent.append(message)

    await site.application({"type": "websocket"}, trio.sleep_forever, send)
    assert sent == [{"type": "websocket.close"}]


async def test_an_offer_to_upgrade_is_not_taken(site: Site):
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    client = await site.connect()
    assert (await client.ask("GET", headers=upgrade)).status == 405
    assert (await client.ask("GET", headers=upgrade)).status == 405


async def test_the_lifespan_protocol_is_spoken(site: Site):
    to_app, from_server = trio.open_memory_channel[dict](2)
    to_app.send_nowait({"type": "lifespan.startup"})
    to_app.send_nowait({"type": "lifespan.shutdown"})
    sent = []

    async def send(message):
        sent.append(message["type"])

    await site.application({"type": "lifespan"}, from_server.receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# --- bodies ----------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_large_is_refused_and_the_answer_arrives(site: Site):
    client = await site.connect()
    answer = await client.ask("POST", headers=HEADERS, body=b" " * (LIMIT + 1))
    assert answer.status == 413
    assert "limits.bodyBytes" in answer.message
    assert answer.headers["connection"] == "close"
    await client.ends()


async def test_a_body_that_says_it_is_too_large_is_refused_behind_a_known_head(site: Site):
    client = await site.connect()
    assert (await client.ask("POST", headers=HEADERS, body=b" ")).code == -32700
    headers = HEADERS | {"content-length": str(LIMIT + 1)}
    await client.begin("POST", headers=headers)  # and nothing of the body
    answer = await client.answer()
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


async def test_a_body_of_the_largest_size_is_taken(site: Site):
    assert (await site.post(b" " * LIMIT)).code == -32700


async def test_a_body_that_turns_out_too_large_is_refused_though_it_goes_on(site: Site):
    client = await site.connect()
    await client.begin("POST", headers=HEADERS | {"transfer-encoding": "chunked"})
    assert (await client.answer()).status == 400
    client.http.start_next_cycle()
    headers = [("host", site.host), ("transfer-encoding", "chunked"), *HEADERS.items()]
    await client.send(h11.Request(method="POST", target="/mcp", headers=headers))
    for _ in range(20):
        await client.send(h11.Data(data=b" " * LIMIT))
    await client.send(h11.EndOfMessage())
    assert (await client.answer()).status == 413
    await client.ends()


async def send_tiny_chunks(site: Site, path: str, count: int) -> int:
    """Send a body in more pieces than Hypercorn's queue has room for."""
    client = await site.connect()
    head = f"POST {path} HTTP/1.1\r\nhost: {site.host}\r\ntransfer-encoding: chunked\r\n"
    await client.begin_raw(head.encode() + b"\r\n" + b"1\r\nx\r\n" * count)
    status = (await client.answer()).status
    await client.ends()
    return status


@pytest.mark.parametrize("path", ["/mcp", "/none"])
async def test_a_refused_body_in_many_pieces_holds_up_nothing(
    site: Site, path: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asgi, "LINGER_BYTES", 100)
    with trio.fail_after(60):
        assert await send_tiny_chunks(site, path, 5000) == (415 if path == "/mcp" else 404)


async def test_what_a_client_goes_on_sending_is_not_read_forever(autojump_clock: trio.abc.Clock):
    async with open_site() as site:
        begun = trio.current_time()
        assert await send_tiny_chunks(site, "/none", 20) == 404
        assert trio.current_time() - begun == pytest.approx(asgi.LINGER_SECONDS)


async def test_a_connection_is_usable_after_a_refused_body(site: Site):
    client = await site.connect()
    assert (await client.ask("POST", "/none", HEADERS, b"x" * 1_000_000)).status == 404
    answer = await client.ask("POST", "/mcp", modern_headers(CALL), with_meta(CALL))
    assert answer.status == 200


async def test_a_body_that_does_not_go_on_is_given_up(autojump_clock: trio.abc.Clock):
    async with open_site() as site:
        client = await site.connect()
        headers = [("host", site.host), ("content-length", "10"), *HEADERS.items()]
        await client.send(h11.Request(method="POST", target="/mcp", headers=headers))
        begun = trio.current_time()
        assert (await client.answer()).status == 408
        assert trio.current_time() - begun >= READ_SECONDS
        await client.ends()


async def test_a_client_that_goes_away_while_it_sends_is_no_event(site: Site):
    client = await site.connect()
    headers = [("host", site.host), ("content-length", "10"), *HEADERS.items()]
    await client.send(h11.Request(method="POST", target="/mcp", headers=headers))
    await client.send(h11.Data(data=b"{"))
    client.abort()
    await site.post_modern(CALL)
    assert site.events == []


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-5")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe{}", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
        (b"[" * 100_000, None),
        (b"[1", -32700),
        (b"{}", -32600),
        (b"7", -32600),
        (b'"x"', -32600),
        (b"null", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b"[]", -32600),
    ],
)
async def test_what_is_no_message_is_refused(site: Site, body: bytes, code: int | None):
    answer = await site.post(body)
    assert answer.status == (413 if code is None else 400)
    assert code in {None, answer.code}
    assert site.events == []


@pytest.mark.requirement("basic/index#error-responses-1")
async def test_a_message_that_is_none_is_answered_by_its_id(site: Site):
    assert (await site.post({"jsonrpc": "1.0", "id": "x", "method": "ping"})).json["id"] == "x"
    assert (await site.post(b'{"id":7,')).json.get("id") is None


@pytest.mark.parametrize("kind", [None, "text/plain", "application/jsonx", "application/json+x"])
async def test_other_types_of_content_are_refused(site: Site, kind: str | None):
    headers = {"accept": BOTH} | ({} if kind is None else {"content-type": kind})
    assert (await site.ask("POST", headers=headers, body=CALL)).status == 415


async def test_parameters_of_the_content_type_make_no_difference(site: Site):
    headers = modern_headers(CALL) | {"content-type": "Application/JSON; charset=utf-8"}
    assert (await site.ask("POST", headers=headers, body=with_meta(CALL))).status == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        (BOTH, 200),
        ("*/*", 200),
        ("application/*, text/*;q=0.5", 200),
        ("Text/Event-Stream , APPLICATION/JSON", 200),
        ("application/json", 406),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("", 406),
    ],
)
async def test_both_types_of_answer_must_be_accepted(site: Site, accept: str | None, status: int):
    headers = modern_headers(CALL)
    headers.pop("accept")
    headers |= {} if accept is None else {"accept": accept}
    assert (await site.ask("POST", headers=headers, body=with_meta(CALL))).status == status


# --- credentials -----------------------------------------------------------------------------


@pytest.fixture
def keys() -> KeyStore:
    return KeyStore((SigningKey.generate(time.time()),))


def gate_of(keys: KeyStore, **more) -> Gate:
    return Gate(mode="local", verifier=TokenVerifier(keys), **more)


def bearer(keys: KeyStore, subject: str = "ada") -> dict[str, str]:
    token = issue_token(
        keys, subject=subject, lifetime=60, audience="onemcp", issuer="onemcp", now=time.time()
    )
    return {"authorization": f"Bearer {token}"}


@pytest.mark.requirement(
    "basic/authorization/index#token-handling-3",
    "basic/authorization/index#token-handling-4",
    "basic/authorization/index#error-handling-1",
    "basic/transports/streamable-http#security-endpoint-4",
)
async def test_a_token_lets_in_and_none_or_a_bad_one_does_not(keys: KeyStore):
    async with open_site(gate=gate_of(keys)) as site:
        without = await site.post(CALL)
        assert without.status == 401
        assert without.headers["www-authenticate"] == 'Bearer realm="onemcp"'
        bad = await site.post(CALL, {"authorization": "Bearer x.y.z"})
        assert bad.status == 401
        assert 'error="invalid_token"' in bad.headers["www-authenticate"]
        headers = modern_headers(CALL) | bearer(keys)
        for _ in range(2):
            assert (await site.ask("POST", "/mcp", headers, with_meta(CALL))).status == 200
        *denied, accepted = site.events
        assert [(event.status, event.path) for event in denied] == [(401, "/mcp")] * 2
        assert all(isinstance(event, RequestDenied) for event in denied)
        assert isinstance(accepted, TokenAccepted), "told once"
        assert (accepted.principal.subject, accepted.address) == ("ada", "127.0.0.1")


@pytest.mark.requirement(
    "basic/authorization/security-considerations#access-token-privilege-restriction-1"
)
async def test_a_stranger_is_not_told_which_endpoints_there_are(keys: KeyStore):
    async with open_site(gate=gate_of(keys)) as site:
        assert (await site.post(CALL, path="/mcp/none")).status == 401


async def test_a_session_is_its_principals_alone(keys: KeyStore):
    async with open_site(gate=gate_of(keys)) as site:
        ada = await site.open(headers=bearer(keys))
        assert (await ada.post(request("ping"))).status == 200
        stolen = await ada.post(request("ping"), **bearer(keys, "eve"))
        assert stolen.status == 404
        (event,) = (each for each in site.events if not isinstance(each, TokenAccepted))
        assert (type(event), event.why) == (SessionUnknown, "it is another principal's")
        assert (await ada.post(request("ping"))).status == 200


async def test_a_session_exists_only_at_the_endpoint_where_it_was_opened(site: Site):
    session = await site.open()
    elsewhere = await site.ask("POST", "/mcp/alpha", session.headers, request("ping"))
    assert elsewhere.status == 404
    (event,) = site.events
    assert (type(event), event.why) == (SessionUnknown, "it is of another endpoint")
    alone = await site.open(path="/mcp/alpha")
    assert (await alone.post(request("ping"))).status == 404
    assert (await site.ask("POST", "/mcp/alpha", alone.headers, request("ping"))).status == 200


@pytest.mark.requirement(
    "basic/transports/streamable-http#security-endpoint-1",
    "basic/transports/streamable-http#security-endpoint-2",
)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 403),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example.com", "origin": "http://evil.example.com"}, 403),
    ],
)
async def test_other_hosts_and_origins_are_kept_out(
    site: Site, headers: dict[str, str], status: int
):
    answer = await site.post(CALL, headers)
    assert answer.status == status
    assert "access-control-allow-origin" not in answer.headers
    (event,) = site.events
    assert isinstance(event, RequestDenied)
    assert "evil" not in answer.body.decode()


async def test_a_loopback_origin_comes_in(site: Site):
    headers = modern_headers(CALL) | {"origin": f"http://{site.host}"}
    assert (await site.ask("POST", headers=headers, body=with_meta(CALL))).status == 200


# --- web pages -------------------------------------------------------------------------------

PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,mcp-session-id,mcp-param-x",
}


async def test_a_browser_may_ask_before_a_page_is_authenticated(keys: KeyStore):
    async with open_site(gate=gate_of(keys, allowed_origins=[PAGE])) as site:
        answer = await site.ask("OPTIONS", headers=PREFLIGHT)
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
        told = {key: value for key, value in answer.headers.items() if "access" in key}
        assert told == {
            "access-control-allow-origin": PAGE,
            "access-control-allow-methods": "POST, GET, DELETE",
            "access-control-allow-headers": PREFLIGHT["access-control-request-headers"],
            "access-control-expose-headers": cors.EXPOSED.decode(),
            "access-control-max-age": "600",
        }
        assert answer.headers["vary"] == "origin"
        assert site.events == []


async def test_only_pages_of_allowed_origins_may_ask(site: Site):
    answer = await site.ask("OPTIONS", headers=PREFLIGHT)
    assert answer.status == 403
    assert not [key for key in answer.headers if key.startswith("access-control")]


@pytest.mark.parametrize("left_out", ["origin", "access-control-request-method"])
async def test_other_options_are_no_preflights(left_out: str):
    async with open_site(gate=Gate(mode="none", allowed_origins=[PAGE])) as site:
        headers = {key: value for key, value in PREFLIGHT.items() if key != left_out}
        assert (await site.ask("OPTIONS", headers=headers)).status == 405


async def test_a_preflight_without_headers_is_told_of_none():
    async with open_site(gate=Gate(mode="none", allowed_origins=[PAGE])) as site:
        headers = {"origin": PAGE, "access-control-request-method": "DELETE"}
        answer = await site.ask("OPTIONS", headers=headers)
        assert answer.status == 204
        assert "access-control-allow-headers" not in answer.headers


async def test_a_page_may_read_every_answer(keys: KeyStore):
    async with open_site(gate=gate_of(keys, allowed_origins=[PAGE])) as site:
        origin = {"origin": PAGE}
        known = origin | bearer(keys)
        session = await site.open(headers=known)
        answers = [
            await site.post(CALL, origin),
            await site.post(CALL, known, "/none"),
            await site.post(b"{", known),
            await session.post(request("ping")),
            await session.delete(),
        ]
        assert [answer.status for answer in answers] == [401, 404, 400, 200, 204]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "mcp-session-id" in answer.headers["access-control-expose-headers"]
            assert "www-authenticate" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers


async def test_other_clients_hear_nothing_of_origins(site: Site):
    answer = await site.post_modern(CALL)
    assert not {"vary", "access-control-allow-origin"} & answer.headers.keys()


# --- bugs ------------------------------------------------------------------------------------


@pytest.mark.requirement("server/prompts#error-handling-1", "server/resources#error-handling-2")
async def test_a_bug_is_reported_and_tells_the_client_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    async def broken(*_):
        raise ZeroDivisionError("the secret is 42")

    monkeypatch.setattr(View, "dispatch", broken)
    session = await site.open()
    for answer in [await site.post_modern(CALL), await session.post(CALL)]:
        assert answer.status == 500
        assert answer.code == -32603
        assert b"42" not in answer.body
    assert [type(event) for event in site.events] == [RequestFailed] * 2
    assert all(isinstance(event.error, ZeroDivisionError) for event in site.events)
    assert session.session.in_flight == 0


async def test_a_bug_in_mid_answer_is_reported_and_breaks_the_answer_off(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    message = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    client = await site.begin_modern(message)
    await client.stream_begins()
    await client.message()
    monkeypatch.setattr("onemcp.protocol.sse.encode_event", partial(int, "x"))
    site.server.change()
    with pytest.raises(h11.RemoteProtocolError):
        await client.event()
    (event,) = site.events
    assert isinstance(event, RequestFailed)
