"""What is worked out of the head of a request, and kept for the next one with the same head."""

from __future__ import annotations

from typing import Any

import pytest

from onemcp.auth import Gate, RequestRefused, TokenVerifier
from onemcp.frontend.http1.exchange import MEMO
from onemcp.frontend.request import Arrival
from onemcp.protocol.errors import HeaderMismatch
from onemcp.protocol.headers import Repeated

HEADERS = [
    (b"host", b"mcp.example.com"),
    (b"content-length", b"2"),
    (b"content-type", b"application/json; charset=utf-8"),
    (b"accept", b"application/json, text/event-stream"),
    (b"mcp-session-id", b"s"),
]


def gate(*hosts: str) -> Gate:
    return Gate(mode="none", allowed_hosts=hosts)


def scope(path: str = "/mcp/files", memo: dict[object, Any] | None = None) -> dict[str, Any]:
    extensions = {} if memo is None else {MEMO: memo}
    return {"method": "POST", "path": path, "headers": HEADERS, "extensions": extensions}


def test_what_a_head_says_is_worked_out_once():
    memo: dict[object, Any] = {}
    ours = gate("mcp.example.com")
    arrival = Arrival.of(scope(memo=memo), ours)
    assert Arrival.of(scope(memo=memo), ours) is arrival
    assert (arrival.base, arrival.name, arrival.resource) == ("/mcp", "files", "/mcp/files")
    assert (arrival.session, arrival.revision) == ("s", None)
    assert arrival.is_json
    assert arrival.takes_answers


def test_what_is_kept_does_not_tell_how_long_a_body_is():
    assert b"content-length" in dict(Arrival.of(scope(), gate("mcp.example.com")).headers)
    kept = Arrival.of(scope(memo={}), gate("mcp.example.com"))
    assert b"content-length" not in dict(kept.headers)


def test_another_gate_looks_for_itself():
    memo: dict[object, Any] = {}
    Arrival.of(scope(memo=memo), gate("mcp.example.com"))
    with pytest.raises(RequestRefused):
        Arrival.of(scope(memo=memo), gate("elsewhere.example.com"))
    again = gate("mcp.example.com")
    assert Arrival.of(scope(memo=memo), again).gate is again


def test_what_is_refused_is_refused_each_time():
    memo: dict[object, Any] = {}
    for _ in range(2):
        with pytest.raises(RequestRefused):
            Arrival.of(scope(memo=memo), gate())
    assert not memo


@pytest.mark.parametrize(
    ("path", "is_at_endpoint"),
    [
        ("/mcp", True),
        ("/mcp/", True),
        ("/mcp/files", True),
        ("/sse", True),
        ("/messages", True),
        ("/messages/files", False),
        ("/status", False),
        ("/.well-known/mcp", False),
        ("/", False),
    ],
)
def test_where_mcp_is_served(path: str, *, is_at_endpoint: bool):
    assert Arrival.of(scope(path), gate("mcp.example.com")).is_at_endpoint is is_at_endpoint


def test_a_body_that_the_same_head_does_not_repeat_is_refused_each_time():
    standard = [
        (b"mcp-protocol-version", b"r"),
        (b"mcp-method", b"tools/call"),
        (b"mcp-name", b"a"),
    ]
    request = {**scope(memo={}), "headers": [*HEADERS, *standard]}
    arrival = Arrival.of(request, gate("mcp.example.com"))
    for _ in range(2):
        arrival.check_repeated(Repeated("r", "tools/call", "a"))
        for repeated in (
            Repeated("r", "tools/call", "b"),
            Repeated("r", "tools/list", "a"),
            Repeated("other", "tools/call", "a"),
        ):
            with pytest.raises(HeaderMismatch):
                arrival.check_repeated(repeated)


def test_what_a_request_presents_is_read_once_for_each_head():
    ours = Gate(mode="local", verifier=TokenVerifier(None), allowed_hosts=["mcp.example.com"])
    request = {**scope(memo={}), "headers": [*HEADERS, (b"authorization", b"Bearer a.b.c")]}
    arrival = Arrival.of(request, ours)
    presented = arrival.presented
    assert presented.token is not None
    assert presented.token.text == b"a.b.c"
    assert "a.b.c" not in repr(presented)
    assert Arrival.of(request, ours).presented is presented
    without = Arrival.of(scope(memo={}), ours)
    for _ in range(2):
        with pytest.raises(RequestRefused):
            _ = without.presented
