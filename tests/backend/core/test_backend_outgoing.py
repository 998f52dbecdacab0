"""A call is written in the terms of the revision that its backend speaks."""

from __future__ import annotations

import pytest
from msgspec import Raw

from onemcp.backend import Call, Caller
from onemcp.backend.call import outgoing_params
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import plain
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN, Era

PREFIX = "io.modelcontextprotocol/"


def written(meta: bytes | None, revision: str, **who):
    caller = Caller("ann", "ann", **who)
    params = {"name": Raw(b'"t"'), "arguments": Raw(b'{ "a" :1}')}
    if meta is not None:
        params["_meta"] = Raw(meta)
    return outgoing_params(Call("tools/call", params, caller), revision, 7)


@pytest.mark.requirement("client/elicitation#capabilities-1", "client/sampling#tools-in-sampling-1")
def test_modern_requests_get_their_members_and_keep_the_rest_byte_for_byte():
    params, token = written(
        b'{"x":1,"%sclientInfo":{"name":"forged"}}' % PREFIX.encode(),
        LATEST_MODERN,
        capabilities=Raw(b'{"sampling": {}}'),
        client_info=None,
        log_level="info",
    )
    assert token is None
    assert b'"arguments":{ "a" :1}' in bytes(params)
    assert plain(params)["_meta"] == {
        "x": 1,
        PREFIX + "protocolVersion": LATEST_MODERN,
        PREFIX + "clientCapabilities": {"sampling": {}},
        PREFIX + "logLevel": "info",
    }


@pytest.mark.requirement("basic/index#meta-9")
def test_a_modern_client_is_introduced():
    params, _ = written(None, LATEST_MODERN, client_info=Raw(b'{"name":"c"}'))
    assert plain(params)["_meta"][PREFIX + "clientInfo"] == {"name": "c"}


def test_legacy_requests_lose_them():
    meta = b'{"x":1,"%sprotocolVersion":"2026-07-28"}' % PREFIX.encode()
    assert plain(written(meta, LATEST_LEGACY)[0])["_meta"] == {"x": 1}
    assert "_meta" not in plain(written(meta.replace(b'"x":1,', b""), LATEST_LEGACY)[0])


def test_a_legacy_request_to_a_legacy_backend_is_left_alone():
    params, token = written(b'{"x": 1}', LATEST_LEGACY)
    assert bytes(params) == b'{"name":"t","arguments":{ "a" :1},"_meta":{"x": 1}}'
    assert token is None


@pytest.mark.requirement("basic/patterns/progress#progress-flow-2")
@pytest.mark.parametrize("source", [b'"abc"', b"12", b'"\\u00e9 \\/"', b"1234567890123456789"])
def test_a_progress_token_is_replaced_and_given_back_as_it_was(source):
    params, token = written(b'{"progressToken":%b}' % source, LATEST_LEGACY)
    assert plain(params)["_meta"]["progressToken"] == 7
    assert bytes(token) == source


@pytest.mark.parametrize("meta", [b"[]", b'{"progressToken":true}', b'{"progressToken":1.5}'])
def test_malformed_meta_is_refused(meta):
    with pytest.raises(InvalidParams):
        written(meta, LATEST_LEGACY)


def test_a_caller_of_an_unknown_revision_counts_as_legacy():
    assert Caller("a", "a", "1999-01-01").era is Era.LEGACY
    assert Caller("a", "a").era is Era.MODERN
