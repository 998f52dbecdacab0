"""The context of a trace, from headers into ``_meta`` and out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import raw, split
from onemcp.protocol.tracecontext import MOST_CHARACTERS, adopt, to_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def adopted(params: Any, *headers: tuple[str, str]) -> Any:
    given = [(key.encode(), value.encode("latin-1")) for key, value in headers]
    return json.loads(bytes(adopt(raw(params), given)))


def test_headers_become_members_of_meta():
    headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
    found = adopted({"name": "t"}, *headers, ("baggage", "user=ada"), ("x-other", "1"))
    assert found == {
        "name": "t",
        "_meta": {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "user=ada"},
    }
    kept = adopted({"_meta": {"progressToken": 1}}, ("traceparent", PARENT))
    assert kept == {"_meta": {"progressToken": 1, "traceparent": PARENT}}


def test_what_the_request_says_itself_goes_first():
    params = {"_meta": {"traceparent": OTHER}}
    assert adopted(params, ("traceparent", PARENT), ("baggage", "x=1")) == params
    elsewhere = {"arguments": {"traceparent": 1}}
    assert adopted(elsewhere, ("traceparent", PARENT)) == elsewhere | {
        "_meta": {"traceparent": PARENT}
    }


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        PARENT + "-more",
    ],
)
def test_what_is_no_context_is_left_out(parent):
    assert adopted({}, ("traceparent", parent), ("baggage", "x=1")) == {}
    assert to_headers(split(raw({"_meta": {"traceparent": parent}}))) == []


def test_a_doubled_parent_and_what_is_too_long_or_not_printable_are_left_out():
    assert adopted({}, ("traceparent", PARENT), ("traceparent", PARENT)) == {}
    long = "x" * (MOST_CHARACTERS + 1)
    found = adopted({}, ("traceparent", PARENT), ("baggage", long), ("tracestate", "a=\xe9"))
    assert found == {"_meta": {"traceparent": PARENT}}


def test_meta_becomes_headers():
    members = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "x\r\ny: z"}
    assert to_headers(split(raw({"_meta": members}))) == [
        (b"traceparent", PARENT.encode()),
        (b"tracestate", b"a=1"),
    ]
    assert to_headers({}) == []
    assert to_headers(split(raw({"_meta": {"traceparent": 7}}))) == []


def test_malformed_parameters_are_refused_as_ever():
    with pytest.raises(InvalidParams):
        adopted([], ("traceparent", PARENT))
    assert adopted([]) == []
