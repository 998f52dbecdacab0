"""Requests out of bytes, against h11: what one of them refuses is not taken by us."""

from __future__ import annotations

import re
from typing import Any

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onemcp.frontend.http1.parser import RequestParser
from tests.support.http1 import body, changed, end, joined, lines, space, version

LIMIT = 4096
SPACES = re.compile(rb"\A([^ \r\n]+) +([^ \r\n]+) +(HTTP/)")
GET = b"GET /mcp?x=1 HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: t\r\n\r\n"
)


def parsed(data: bytes, *, size: int = 0) -> RequestParser:
    """Parse some bytes, in pieces of a size."""
    parser = RequestParser(LIMIT)
    for start in range(0, len(data), size or len(data)):
        parser.feed(memoryview(data)[start : start + (size or len(data))])
    return parser


def ours(data: bytes, size: int = 0) -> list[Any]:
    """Return the complete requests that our parser finds, up to the one that ends a connection."""
    found = []
    for request in parsed(data, size=size).requests:
        if request.complete:
            found.append((request.method, request.target, request.headers, request.take_body()))
        if not request.keep_alive:
            break
    return found


def theirs(data: bytes) -> list[Any]:
    """Return the complete requests that h11 finds.

    It is spared what servers should or may ignore, and ours does: empty lines before a request
    (RFC 9112, section 2.2), and more than one space in its first line (section 3).
    """
    found: list[Any] = []
    while data := SPACES.sub(rb"\1 \2 \3", data.lstrip(b"\r\n")):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
        connection.receive_data(data)
        connection.receive_data(b"")
        request = read(connection)
        if request is None:
            break
        found.append(request)
        connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE:
            break
        data = connection.trailing_data[0]
    return found


def read(connection: h11.Connection) -> Any:
    """Return the next request of h11's, if it is one."""
    head, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        match event:
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert head is not None
                headers = [(bytes(name), bytes(value)) for name, value in head.headers]
                return head.method.decode(), bytes(head.target), headers, bytes(body)
            case _:
                return None


# --- against h11 -----------------------------------------------------------------------------

names = [b"Host", b"host", b"X-A", b"Content-Length", b"Transfer-Encoding", b"Te"]
sound_lines = [
    *(b"Host: here", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X: y"),
    *(b"Connection: close", b"Upgrade: h2c", b"Connection: upgrade", b"Expect: 100-continue"),
]
start = joined(
    st.sampled_from(
        [b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"", b"G T", b"CONNECT", b"PRI"]
    ),
    space,
    st.sampled_from([b"/", b"/a?b", b"*", b"http://x/", b"/\xff", b"/ /", b"", b"/\x01", b"a:1"]),
    space,
    version,
    end,
)
usual = st.just(b"POST / HTTP/1.1\r\nHost: here\r\n")
message = st.one_of(
    st.sampled_from([GET, POST, CHUNKED]),
    joined(start, lines(names, sound_lines, 5), st.just(b"\r\n"), body),
    joined(usual, lines(names, sound_lines, 3), st.just(b"\r\n"), body),
)
conversations = st.lists(message, min_size=1, max_size=3).map(b"".join)


@settings(max_examples=600)
@given(conversations, st.sampled_from([0, 1, 7]))
@example(
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 0
)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: y \t\r\n\r\n", 0)
def test_what_is_taken_is_what_h11_takes(data: bytes, size: int):
    found = ours(data, size)
    assert found == theirs(data)[: len(found)]


@settings(max_examples=300)
@given(st.data(), st.sampled_from([GET, POST, CHUNKED, POST + GET]))
def test_a_changed_byte_is_understood_as_h11_does(data: st.DataObject, sound: bytes):
    mutated = changed(data, sound)
    found = ours(mutated)
    assert found == theirs(mutated)[: len(found)]


@settings(max_examples=100)
@given(conversations, st.integers(1, 50))
def test_it_does_not_matter_in_which_pieces_bytes_come(data: bytes, size: int):
    assert ours(data, size) == ours(data)


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_sound_requests_are_taken_whole(size: int):
    data = GET + POST + CHUNKED
    assert ours(data, size) == theirs(data)
    assert len(ours(data, size)) == 3


# --- heads that come again ---------------------------------------------------------------------

KNOWN = (
    b"POST /mcp HTTP/1.1\r\nHost: here\r\ncontent-Length:  3\r\nX-A: b\r\n\r\nabc",
    b"POST /mcp?x=1 HTTP/1.1\r\nContent-Length: 13\r\nHost: here\r\n\r\nhello,\r\n\r\nyou",
)


def in_turn(*pieces: bytes) -> list[Any]:
    """Return the complete requests that our parser finds in pieces that come one by one."""
    parser = RequestParser(2 * LIMIT)
    for piece in pieces:
        parser.feed(memoryview(piece))
    return [
        (request.method, request.target, request.version, request.headers, request.body)
        for request in parser.requests
        if request.complete
    ]


def byte_by_byte(*pieces: bytes) -> list[Any]:
    """Return the same where nothing is understood by what came before."""
    return in_turn(*(bytes([byte]) for piece in pieces for byte in piece))


@settings(max_examples=500)
@given(st.data(), st.sampled_from(KNOWN))
def test_a_head_that_nearly_comes_again_is_understood_as_it_is(data: st.DataObject, known: bytes):
    where = data.draw(st.integers(0, len(known)))
    changed = data.draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([b"0", b"1", b"\r\n", b"close"]))
    )
    again = known[:where] + changed + known[where + data.draw(st.integers(0, 2)) :]
    pieces = known, again + data.draw(st.sampled_from([b"", known, GET, known[:-1], b"\r\n"]))
    cut = data.draw(st.integers(0, len(pieces[1])))
    whole = byte_by_byte(*pieces)
    assert in_turn(*pieces) == whole
    assert in_turn(known, pieces[1][:cut], pieces[1][cut:]) == whole


@settings(max_examples=300)
@given(st.lists(message, min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=6))
def test_what_came_before_changes_no_meaning(messages: list[bytes], order: list[int]):
    pieces = [*messages, *(messages[index % len(messages)] for index in order)]
    assert in_turn(*pieces) == byte_by_byte(*pieces)


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 1000])
@pytest.mark.parametrize("known", KNOWN)
def test_a_head_may_come_again_with_another_length(known: bytes, body: bytes):
    head = re.sub(rb"(?<=: )( *)\d+", rb"\g<1>%d" % len(body), known)
    again = head[: head.index(b"\r\n\r\n") + 4] + body
    parser = parsed(known)
    parser.feed(memoryview(again + known + again[:-1] + again[-1:]))
    first, *others = parser.requests
    assert first.memo is None
    assert [request.body for request in others] == [body, first.body, body]
    assert all(request.complete for request in others)
    assert (b"content-length", b"%d" % len(body)) in others[0].headers
    assert others[0].memo is others[1].memo is not None  # nothing of it had to be parsed
    assert in_turn(known, again) == byte_by_byte(known, again)


@pytest.mark.parametrize(
    "changing",
    [
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        b"POST / HTTP/1.0\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc",
        b"\r\n" + POST,
        POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        POST.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * 4096)),
        CHUNKED,
        GET,
    ],
)
def test_other_heads_are_always_parsed(changing: bytes):
    parser = parsed(changing)
    parser.feed(memoryview(changing))
    assert all(request.memo is None for request in parser.requests)
    assert in_turn(changing, changing) == byte_by_byte(changing, changing)


def test_a_body_that_does_not_come_with_its_head_is_waited_for():
    parser = parsed(POST + POST[:-1])
    first, second = parser.requests
    assert (first.complete, second.complete) == (True, False)
    parser.feed(memoryview(POST[-1:]))
    assert second.body == b"abc"
    assert second.complete


@pytest.mark.parametrize("cut", range(len(POST) - 3, len(POST) + 1))
def test_the_body_behind_a_known_head_is_waited_for(cut: int):
    parser = parsed(POST)
    parser.feed(memoryview(POST[:cut]))
    _, again = parser.requests
    assert again.memo is not None
    assert again.complete is parser.is_idle is (cut == len(POST))
    parser.feed(memoryview(POST[cut:] + GET))
    assert again.complete
    assert again.body == b"abc"
    assert parser.requests[-1].method == "GET"


# --- what is refused ---------------------------------------------------------------------------

HOST = b"\r\nHost: here\r\n"
REFUSED = {
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1" + HOST + b"Host: there\r\n\r\n": 400,
    b"POST / HTTP/1.1" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd": 400,
    b"POST / HTTP/1.1" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n": 400,
    b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": 501,
    b"POST / HTTP/1.0" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1" + HOST + b"Content-Length: +3\r\n\r\nabc": 400,
    b"GET / HTTP/1.1" + HOST + b" folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\nHost: here\n\n": 400,
    b"GET / HTTP/1.1\r\nHost : here\r\n\r\n": 400,
    b"GET / HTTP/1.1" + HOST + b"X: a\x01\r\n\r\n": 400,
    b"CONNECT here:1 HTTP/1.1" + HOST + b"\r\n": 501,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"GET / HTTP/0.9" + HOST + b"\r\n": 505,
}


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data)[2:60])
def test_what_can_be_read_in_two_ways_is_refused(data: bytes):
    parser = parsed(data)
    assert not [request for request in parser.requests if request.complete]
    assert parser.error is not None
    assert parser.error.status == REFUSED[data]


def test_what_follows_an_error_is_not_read():
    parser = parsed(GET + b"\0\r\n")
    parser.feed(memoryview(GET))
    assert len(parser.requests) == 1
    assert parser.error is not None


@pytest.mark.parametrize(
    "endless",
    [
        b"\r\n",
        b"x",
        b"GET /" + b"x" * 100,
        b"GET / HTTP/1.1\r\nX: " + b"y" * 100,
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100,
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 100,
    ],
)
def test_what_never_ends_is_bounded(endless: bytes):
    parser = parsed(endless)
    fed = 0
    while parser.error is None:
        parser.feed(memoryview(endless[-2:] * 500))
        fed += 1000
        assert fed <= LIMIT + 2000
    assert parser.error.status in {400, 431}


def test_large_bodies_are_no_large_heads():
    parser = parsed(b"POST / HTTP/1.1" + HOST + b"Content-Length: 50000\r\n\r\n")
    for _ in range(5):
        parser.feed(memoryview(b"x" * 10_000))
    (request,) = parser.requests
    assert request.complete
    assert len(request.take_body()) == 50_000
    assert parser.error is None


OFFER = b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(
    ("offer", "body"),
    [
        (b"GET / HTTP/1.1" + HOST + OFFER, b""),
        (b"POST / HTTP/1.1" + HOST + b"Content-Length: 3\r\n" + OFFER + b"abc", b"abc"),
        (b"POST / HTTP/1.1" + HOST + b"Content-Length: 0\r\n" + OFFER, b""),
        (
            b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n" + OFFER
            + b"3\r\nabc\r\n0\r\n\r\n",
            b"abc",
        ),
    ],
)  # fmt: skip
def test_an_offer_to_upgrade_is_passed_over(offer: bytes, body: bytes, size: int):
    found = ours(offer + POST, size)
    assert [each[-1] for each in found] == [body, b"abc"]
    assert found == theirs(offer + POST)


def test_the_body_behind_an_offer_to_upgrade_is_waited_for():
    parser = parsed(b"POST / HTTP/1.1" + HOST + b"Content-Length: 3\r\n" + OFFER)
    (request,) = parser.requests
    assert not request.complete
    parser.feed(memoryview(b"abc" + GET))
    assert request.complete
    assert request.take_body() == b"abc"
    assert len(parser.requests) == 2


def test_it_is_idle_between_requests_only():
    parser = parsed(GET)
    assert parser.is_idle
    parser.feed(memoryview(b"\r\n"))
    assert parser.is_idle
    parser.feed(memoryview(POST[:1]))
    assert not parser.is_idle
    parser.feed(memoryview(POST[1:-1]))
    assert not parser.is_idle
    parser.feed(memoryview(POST[-1:]))
    assert parser.is_idle


@pytest.mark.parametrize(
    ("head", "keeps_alive"),
    [
        (b"GET / HTTP/1.1" + HOST, True),
        (b"GET / HTTP/1.1" + HOST + b"Connection: close\r\n", False),
        (b"GET / HTTP/1.0" + HOST, False),
        (b"GET / HTTP/1.0" + HOST + b"Connection: keep-alive\r\n", False),
    ],
)
def test_who_keeps_connections(head: bytes, *, keeps_alive: bool):
    (request,) = parsed(head + b"\r\n").requests
    assert request.keep_alive is keeps_alive
