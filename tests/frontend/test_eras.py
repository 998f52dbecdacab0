"""Which era serves a request, and what each refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onemcp.protocol import meta
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN, LEGACY_REVISIONS, REVISIONS
from tests.frontend.site import (
    CALL,
    HEADERS,
    Answer,
    Site,
    modern_headers,
    notification,
    request,
    with_meta,
)

INITIALIZE = request("initialize", {"protocolVersion": LATEST_LEGACY, "capabilities": {}})
LIST = request("tools/list")
DISCOVER = request("server/discover")


@pytest.mark.requirement(
    "basic/transports/streamable-http#protocol-version-header-3",
    "basic/transports/streamable-http#protocol-version-header-4",
    "basic/transports/streamable-http#protocol-version-header-6",
    "basic/transports/streamable-http#earlier-streamable-http-revisions-1",
    "basic/versioning#protocol-version-negotiation-1",
)
@pytest.mark.parametrize("place", ["alone", "session"])
@pytest.mark.parametrize("meta_version", [None, LATEST_MODERN, LATEST_LEGACY, "2099-01-01"])
@pytest.mark.parametrize("header", [None, LATEST_MODERN, LATEST_LEGACY, "2099-01-01", ""])
@pytest.mark.parametrize("message", [LIST, DISCOVER, INITIALIZE])
async def test_the_era_is_the_requests_own(
    site: Site, message: dict[str, Any], header: str | None, meta_version: str | None, place: str
):
    """The body says which era it is of, else the header, else the method."""
    headers = HEADERS | {"mcp-method": message["method"]}
    headers |= {} if header is None else {"mcp-protocol-version": header}
    if place == "session":
        headers["mcp-session-id"] = (await site.open()).id
    body = message if meta_version is None else with_meta(message, meta_version)
    answer = await site.ask("POST", headers=headers, body=body)
    code = answer.json.get("error", {}).get("code")
    found = (answer.status, code)
    assert answer.json["id"] == 1
    if meta_version is not None:
        if header != meta_version:
            assert found == (400, -32020)
        elif meta_version != LATEST_MODERN:
            assert found == (400, -32022)
            assert answer.json["error"]["data"] == {
                "supported": list(reversed(REVISIONS)),
                "requested": meta_version,
            }
        else:
            assert found == ((404, -32601) if message is INITIALIZE else (200, None))
        assert "mcp-session-id" not in answer.headers
    elif message is INITIALIZE:
        assert found == (200, None)
        assert answer.headers["mcp-session-id"] != headers.get("mcp-session-id")
    elif header not in {None, LATEST_LEGACY}:
        assert found == (400, -32602)
        assert meta.PROTOCOL_VERSION in answer.message
    elif header is None and message is DISCOVER:
        assert found == (400, -32602)
    elif place == "alone":
        assert found == (400, -32600)
        assert "Mcp-Session-Id" in answer.message
    else:
        assert found == ((200, -32601) if message is DISCOVER else (200, None))


@pytest.mark.parametrize("revision", LEGACY_REVISIONS)
async def test_every_legacy_revision_opens_sessions_and_lists(site: Site, revision: str):
    session = await site.open(revision)
    assert all(0x21 <= ord(character) <= 0x7E for character in session.id)
    assert len(session.id) >= 32
    assert (await session.post(notification("notifications/initialized"))).status == 202
    listed = await session.post(LIST)
    assert [each["name"] for each in listed.json["result"]["tools"]] == ["alpha__t"]


@pytest.mark.parametrize("revision", ["2099-01-01", LATEST_MODERN, "", "x" * 10_000])
async def test_an_unknown_revision_is_answered_with_the_latest_legacy_one(
    site: Site, revision: str
):
    params = {"protocolVersion": revision, "capabilities": {}}
    answer = await site.post(request("initialize", params))
    assert answer.json["result"]["protocolVersion"] == LATEST_LEGACY


@pytest.mark.parametrize(
    "params",
    [{}, {"protocolVersion": 7}, {"protocolVersion": LATEST_LEGACY, "capabilities": []}],
)
async def test_a_malformed_handshake_is_refused(site: Site, params: dict[str, Any]):
    answer = await site.post(request("initialize", params, "i"))
    assert (answer.status, answer.code, answer.json["id"]) == (400, -32602, "i")
    assert len(site.sessions) == 0


async def test_the_handshake_ignores_an_old_session(site: Site):
    answer = await site.post(INITIALIZE, {"mcp-session-id": "gone"})
    assert answer.status == 200


async def test_a_version_that_no_session_exists_in_is_refused(site: Site):
    session = await site.open()
    for version in [LATEST_MODERN, "2099-01-01"]:
        headers = session.headers | {"mcp-protocol-version": version}
        assert (await site.ask("GET", headers=headers)).status == 400
        assert (await site.ask("DELETE", headers=headers)).status == 400
    assert len(site.sessions) == 1


async def test_a_version_header_is_not_asked_of_a_session(site: Site):
    session = await site.open()
    headers = {key: value for key, value in session.headers.items() if "version" not in key}
    assert (await site.ask("POST", headers=headers, body=LIST)).status == 200


async def doubled(site: Site, name: str, body: Any, headers: dict[str, str]) -> Answer:
    """Send a request with one of its headers twice."""
    data = json.dumps(body)
    head = ["POST /mcp HTTP/1.1", f"host: {site.host}", f"content-length: {len(data)}"]
    fields = [f"{key}: {value}" for key, value in [*headers.items(), (name, headers[name])]]
    client = await site.connect()
    await client.begin_raw("\r\n".join([*head, *fields, "", data]).encode())
    return await client.answer()


@pytest.mark.requirement("basic/transports/streamable-http#server-validation-3")
@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name"])
async def test_doubled_headers_are_refused_even_where_they_agree(site: Site, name: str):
    answer = await doubled(site, name, with_meta(CALL), modern_headers(CALL))
    assert (answer.status, answer.code, answer.json["id"]) == (400, -32020, 1)


@pytest.mark.parametrize("name", ["mcp-session-id", "mcp-protocol-version"])
async def test_doubled_headers_of_a_session_are_refused(site: Site, name: str):
    session = await site.open()
    answer = await doubled(site, name, LIST, session.headers)
    assert answer.status == 400
    assert answer.json["id"] == 1


@pytest.mark.requirement("basic/transports/streamable-http#case-sensitivity-1")
async def test_names_of_headers_may_be_written_in_any_case(site: Site):
    data = json.dumps(with_meta(CALL))
    fields = {**modern_headers(CALL), "host": site.host, "content-length": str(len(data))}
    client = await site.connect()
    head = [f"{key.swapcase().title()}: {value}" for key, value in fields.items()]
    await client.begin_raw("\r\n".join(["POST /mcp HTTP/1.1", *head, "", data]).encode())
    assert (await client.answer()).status == 200


@pytest.mark.requirement(
    "basic/transports/streamable-http#protocol-version-header-3",
    "basic/transports/streamable-http#value-encoding-4",
    "basic/transports/streamable-http#value-encoding-5",
    "basic/transports/streamable-http#server-validation-1",
    "basic/transports/streamable-http#server-validation-3",
    "basic/transports/streamable-http#server-validation-5",
    "basic/transports/streamable-http#earlier-streamable-http-revisions-1",
)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mcp-method": "prompts/list"}, -32020),
        ({"mcp-method": "TOOLS/CALL"}, -32020),
        ({"mcp-method": None}, -32020),
        ({"mcp-name": "other"}, -32020),
        ({"mcp-name": None}, -32020),
        ({"mcp-name": "=?base64?!!!?="}, -32020),
        ({"mcp-name": "=?base64?YWxwaGFfX3Q=?="}, None),
        ({"mcp-protocol-version": LATEST_LEGACY}, -32020),
        ({"mcp-session-id": "whatever"}, None),
        ({"last-event-id": "1-1"}, None),
    ],
)
async def test_headers_must_repeat_the_body(
    site: Site, changes: dict[str, str | None], code: int | None
):
    headers = {**modern_headers(CALL), **changes}
    kept = {key: value for key, value in headers.items() if value is not None}
    answer = await site.ask("POST", headers=kept, body=with_meta(CALL))
    assert answer.status == (200 if code is None else 400)
    assert answer.json.get("error", {}).get("code") == code
    assert "mcp-session-id" not in answer.headers


@pytest.mark.requirement(
    "basic/index#error-responses-1",
    "basic/index#meta-7",
    "basic/index#meta-8",
    "server/utilities/logging#error-handling-1",
)
@pytest.mark.parametrize(
    "members",
    [
        {},
        7,
        [],
        "x",
        {meta.PROTOCOL_VERSION: LATEST_MODERN},
        {meta.CLIENT_CAPABILITIES: {}},
        {meta.PROTOCOL_VERSION: 7, meta.CLIENT_CAPABILITIES: {}},
        {meta.PROTOCOL_VERSION: LATEST_MODERN, meta.CLIENT_CAPABILITIES: []},
        {
            meta.PROTOCOL_VERSION: LATEST_MODERN,
            meta.CLIENT_CAPABILITIES: {},
            meta.LOG_LEVEL: "loud",
        },
    ],
)
async def test_missing_or_malformed_request_fields_are_refused(site: Site, members: Any):
    message = request("server/discover", {"_meta": members}, "the id")
    answer = await site.ask("POST", headers=modern_headers(message), body=message)
    assert (answer.status, answer.code, answer.json["id"]) == (400, -32602, "the id")


@pytest.mark.requirement(
    "basic/transports/streamable-http#protocol-version-header-5",
    "basic/versioning#extension-negotiation-2",
)
@pytest.mark.parametrize(
    "method",
    [
        "unknown/method",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "initialize",
    ],
)
async def test_methods_that_are_not_of_this_revision_are_not_found(site: Site, method: str):
    answer = await site.post_modern(request(method, {}, 5))
    assert (answer.status, answer.code, answer.json["id"]) == (404, -32601, 5)


async def test_unknown_methods_in_a_session_are_errors_of_the_protocol_not_of_http(site: Site):
    session = await site.open()
    answer = await session.post(request("unknown/method", {}, 5))
    assert (answer.status, answer.code, answer.json["id"]) == (200, -32601, 5)


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-7")
async def test_modern_notifications_are_accepted(site: Site):
    headers = HEADERS | {"mcp-protocol-version": LATEST_MODERN}
    answer = await site.ask("POST", headers=headers, body=notification("notifications/x"))
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-8")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"accept": "text/html"}, 406),
        ({"origin": "http://evil.example.com"}, 403),
    ],
)
async def test_notifications_that_are_not_accepted_get_an_http_error(
    site: Site, headers: dict[str, str], status: int
):
    sent = HEADERS | {"mcp-protocol-version": LATEST_MODERN} | headers
    answer = await site.ask("POST", headers=sent, body=notification("notifications/x"))
    assert answer.status == status
    assert "id" not in answer.json


@pytest.mark.requirement(
    "basic/patterns/index#introduction-1", "basic/transports/streamable-http#sending-messages-6"
)
async def test_modern_responses_are_refused(site: Site):
    headers = HEADERS | {"mcp-protocol-version": LATEST_MODERN}
    for member in ({"result": {}}, {"error": {"code": 1, "message": "x"}}):
        body = {"jsonrpc": "2.0", "id": 1, **member}
        answer = await site.ask("POST", headers=headers, body=body)
        assert (answer.status, answer.code) == (400, -32600)


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-5")
async def test_arrays_are_refused_outside_of_the_one_revision_that_has_them(site: Site):
    for headers in (
        modern_headers(LIST),
        HEADERS | {"mcp-protocol-version": LATEST_LEGACY},
        (await site.open()).headers,
        (await site.open("2024-11-05")).headers,
        {key: value for key, value in (await site.open()).headers.items() if "version" not in key},
    ):
        answer = await site.ask("POST", headers=headers, body=[LIST])
        assert (answer.status, answer.code) == (400, -32600)
        assert answer.message == "batches exist only in revision 2025-03-26"
    assert (await site.post([LIST])).status == 400
