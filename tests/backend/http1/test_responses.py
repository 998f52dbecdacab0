"""Responses out of bytes, against h11: what one of them refuses is not taken by us."""

from __future__ import annotations

import re
from typing import Any

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onemcp.backend.http1 import RemoteProtocolError
from onemcp.backend.http1._parser import LIMIT, ResponseParser
from tests.support.http1 import body, changed, end, joined, lines, space, version

FIXED = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: t\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" + FIXED
STATUS_LINE = re.compile(rb"\A[\r\n]*(HTTP/1\.[01] [0-9]{3}) [^\r\n]*")


def ours(data: bytes, size: int = 0) -> Any:
    """Return the response that our parser finds, and whether the connection can be used again."""
    parser, size = ResponseParser(), size or len(data) or 1
    try:
        for start in range(0, len(data), size):
            parser.feed(memoryview(data)[start : start + size])
        keeps_alive = parser.keeps_alive
        parser.feed_eof()
    except RemoteProtocolError:
        if not parser.complete:
            return None
    return (parser.status, parser.headers, parser.take()), keeps_alive


def cleaned(data: bytes) -> bytes:
    """Take out what we pass over: empty lines before a response, and what is behind a status.

    Clients should ignore that (RFC 9112, section 4), whatever it is.
    """
    head, blank, rest = STATUS_LINE.sub(rb"\1 ", data, count=1).partition(b"\r\n\r\n")
    return head + blank + (cleaned(rest) if head.startswith(b"HTTP/1.1 1") else rest)


def theirs(data: bytes) -> Any:
    """Return the response that h11 finds, and whether nothing is left and it would go on."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "here")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(cleaned(data))
    connection.receive_data(b"")
    head, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return None
        match event:
            case h11.Response():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert head is not None
                headers = [(bytes(name), bytes(value)) for name, value in head.headers]
                rest, _ = connection.trailing_data
                keeps_alive = connection.their_state is h11.DONE and not rest
                return (head.status_code, headers, bytes(body)), keeps_alive
            case h11.InformationalResponse(status_code=status) if status != 101:
                continue
            case _:
                return None


# --- against h11 -----------------------------------------------------------------------------

names = [b"X-A", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Te"]
sound_lines = [
    *(b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X: y", b"Connection: close"),
    *(b"Connection: keep-alive", b"Upgrade: h2c", b"Connection: upgrade", b"Content-Length: 0"),
]
status = st.sampled_from(
    [
        *([b"200"] * 5),
        *(b"100", b"101", b"103", b"202", b"204", b"304", b"404", b"500", b"999"),
        *(b"", b"20", b"2000", b"-20", b"2x0", b"000", b" 200"),
    ]
)
reason = st.sampled_from([b" OK", b" OK", b" ", b"", b" N\xffo", b" a\tb", b"\t", b" \0", b" \x01"])
usual = st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n"])
start = st.one_of(usual, joined(version, space, status, reason, end))
message = st.one_of(
    st.sampled_from([FIXED, CHUNKED, UNTIL_CLOSE, EMPTY, EARLY]),
    joined(start, lines(names, sound_lines, 4), st.just(b"\r\n"), body),
)
answers = st.lists(message, min_size=1, max_size=2).map(b"".join)


def agrees(found: Any, expected: Any) -> bool:
    """Tell whether we found nothing else than h11, and go on only where it would."""
    if found is None:
        return True
    return expected is not None and found[0] == expected[0] and found[1] <= expected[1]


@settings(max_examples=500)
@given(answers, st.sampled_from([0, 1, 7]))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 0)
@example(b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", 0)
@example(b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0)
@example(FIXED + FIXED, 0)
@example(FIXED + b"HTTP/1.1 101 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 0)
def test_what_is_taken_is_what_h11_takes(data: bytes, size: int):
    assert agrees(ours(data, size), theirs(data))


@settings(max_examples=300)
@given(st.data(), st.sampled_from([FIXED, CHUNKED, UNTIL_CLOSE, EMPTY, EARLY]))
def test_a_changed_byte_is_understood_as_h11_does(data: st.DataObject, sound: bytes):
    mutated = changed(data, sound)
    assert agrees(ours(mutated), theirs(mutated))


@settings(max_examples=100)
@given(answers, st.integers(1, 50))
def test_it_does_not_matter_in_which_pieces_bytes_come(data: bytes, size: int):
    whole, pieces = ours(data), ours(data, size)
    assert (whole and whole[0]) == (pieces and pieces[0])


@pytest.mark.parametrize("sound", [FIXED, CHUNKED, UNTIL_CLOSE, EMPTY, EARLY])
@pytest.mark.parametrize("size", [0, 1])
def test_sound_responses_are_taken_whole(sound: bytes, size: int):
    found, keeps_alive = ours(sound, size)
    assert found == theirs(sound)[0]
    assert keeps_alive is (sound is not UNTIL_CLOSE)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("size", [0, 1])
def test_what_is_no_response_or_could_be_two_is_refused(data: bytes, size: int):
    assert ours(data, size) is None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        UNTIL_CLOSE,
        FIXED + b"HTTP/1.1 200 OK\r\n",
        FIXED + b"x",
        EMPTY + b"abc",
    ],
)
def test_after_that_a_connection_is_not_used_again(data: bytes):
    _, keeps_alive = ours(data)
    assert not keeps_alive


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * LIMIT,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (LIMIT // 6),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (LIMIT // 25 + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * LIMIT,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * (LIMIT // 6),
    ],
)
def test_what_never_ends_is_bounded(endless: bytes):
    assert ours(endless + b"x" * 100, size=100) is None


def test_large_bodies_are_no_large_heads():
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        parser.feed(b"%x\r\n%b\r\n" % (LIMIT, b"x" * LIMIT))
    parser.feed(b"0\r\n\r\n")
    assert parser.keeps_alive
    assert len(parser.take()) == 10 * LIMIT
