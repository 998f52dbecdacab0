"""Lines out of a stream, however it was cut, within bounds."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.protocol.framing import HEAD_BYTES, LineDecoder, Oversized

STREAM = st.lists(
    st.sampled_from([b"a", b"{}", b"\n", b"\r\n", b"\r", b"abcdef", b"x" * 3000, b"\n\n", b"\xff"]),
    max_size=30,
).map(b"".join)
LIMITS = st.sampled_from([0, 1, 5, 6, 100, 5000])


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def expected(data: bytes, limit: int) -> list[bytes | Oversized]:
    lines: list[bytes | Oversized] = []
    for line in data.split(b"\n"):
        if len(line) > limit:
            lines.append(Oversized(len(line), line[:HEAD_BYTES]))
        elif line.rstrip(b"\r"):
            lines.append(line.rstrip(b"\r"))
    return lines


def test_lines_come_out_as_they_are_completed():
    decoder = LineDecoder(100)
    assert decoder.feed(b'{"a"') == []
    assert decoder.feed(b':1}\n{"b":2}\r\n{') == [b'{"a":1}', b'{"b":2}']
    assert decoder.feed(bytearray(b"}\n")) == [b"{}"]
    assert decoder.finish() is None


def test_empty_lines_are_dropped():
    decoder = LineDecoder(100)
    assert decoder.feed(b"\n\r\n\n\na\n") == [b"a"]
    assert decoder.feed(b"") == []


def test_only_a_line_feed_ends_a_line():
    assert LineDecoder(100).feed("a\rb\u2028c\x0bd\x85\n".encode()) == [
        "a\rb\u2028c\x0bd\x85".encode()
    ]


def test_what_stands_after_the_last_line_break_comes_at_the_end():
    decoder = LineDecoder(3)
    decoder.feed(b"one\ntwo")
    assert decoder.finish() == b"two"
    assert decoder.finish() is None
    decoder.feed(b"three")
    assert decoder.finish() == Oversized(5, b"three")


def test_a_line_of_the_limit_passes_and_one_byte_more_does_not():
    assert LineDecoder(4).feed(b"1234\n12345\n123\n") == [
        b"1234",
        Oversized(5, b"12345"),
        b"123",
    ]


def test_an_oversized_line_is_skipped_and_its_head_is_kept():
    decoder = LineDecoder(10)
    assert decoder.feed(b"head") == []
    for _ in range(100):
        assert decoder.feed(b"." * 1000) == []
    assert decoder.feed(b"tail\nnext\n") == [
        Oversized(100_008, b"head" + b"." * (HEAD_BYTES - 4)),
        b"next",
    ]


def test_repr_shows_the_state():
    decoder = LineDecoder(10)
    decoder.feed(b"abc")
    assert repr(decoder) == "<LineDecoder limit=10 pending=3>"


@given(STREAM, st.lists(st.integers(0, 10_000), max_size=20), LIMITS)
def test_how_the_stream_is_cut_makes_no_difference(data, at, limit):
    decoder = LineDecoder(limit)
    lines = [line for chunk in cut(data, at) for line in decoder.feed(chunk)]
    last = decoder.finish()
    assert [*lines, *([] if last is None else [last])] == expected(data, limit)


@given(STREAM, st.lists(st.integers(0, 10_000), max_size=20), LIMITS)
def test_memory_is_bounded_however_the_stream_is_cut(data, at, limit):
    decoder = LineDecoder(limit)
    for chunk in cut(data, at):
        decoder.feed(chunk)
        assert len(decoder._pending) <= max(limit, HEAD_BYTES)


@pytest.mark.parametrize("line", [2_000_000, 4_000_000])
def test_the_work_for_a_long_line_grows_with_its_length_only(line):
    decoder, chunk, allocated = LineDecoder(line), b"x" * 4096, 0
    tracemalloc.start()
    try:
        for _ in range(line // len(chunk)):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            decoder.feed(chunk)
            allocated += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert allocated < 10 * line
    (found,) = decoder.feed(b"\n")
    assert len(found) == line // len(chunk) * len(chunk)
