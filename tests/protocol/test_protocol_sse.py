"""Server-sent events against the HTML standard's interpretation, within bounds."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.protocol.errors import MessageTooLarge
from onemcp.protocol.sse import KEEP_ALIVE, Event, EventDecoder, encode_event

BIG = 1_000_000
STREAM = st.lists(
    st.sampled_from(
        [
            *(b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r"),
            *(b"data", b"data:", b"data: x", b"data:y", b"data:  z", b"data: a:b", b"Data: no"),
            *(b"event: ping", b"event:", b"event", b": comment", b":", b"unknown: 1", b" data: 1"),
            *(b"id: 1", b"id:2", b"id", b"id: a\0b", b"retry: 10", b"retry: 1x", b"retry:", b"\0"),
            *(b"retry: 007", b"\xef\xbb\xbf", b"\xff", b"\xc3\xa9", b"id: \xff", b"x" * 40, b""),
        ]
    ),
    max_size=40,
).map(b"".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=20)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def interpret(stream: bytes) -> tuple[list[Event], str | None]:
    """Interpret a whole stream (HTML standard, 9.2.6), its data undecoded.

    On top of it, a block with a ``retry`` is an event even without data, which tells of it.
    """
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    *lines, _unfinished = re.split(rb"\r\n|\n|\r", stream)
    events: list[Event] = []
    data, kind, last_id_buffer, retry = b"", "", "", None
    last_id = ""
    for line in lines:
        if line == b"":
            last_id = last_id_buffer
            if data or retry is not None:
                events.append(Event(data[:-1], kind or "message", last_id or None, retry))
            data, kind, retry = b"", "", None
            continue
        field, value = re.fullmatch(rb"([^:]*)(?:: ?(.*))?", line, re.DOTALL).groups(b"")
        if field == b"event":
            kind = value.decode("utf-8", "replace")
        elif field == b"data":
            data += value + b"\n"
        elif field == b"id" and b"\0" not in value:
            last_id_buffer = value.decode("utf-8", "replace")
        elif field == b"retry" and re.fullmatch(rb"[0-9]+", value):
            retry = int(value)
    return events, last_id or None


def decode(stream: bytes, limit: int = BIG) -> list[Event]:
    return EventDecoder(limit).feed(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (
            b"data: YHOO\ndata: +2\ndata: 10\n\n",
            [Event(b"YHOO\n+2\n10")],
        ),
        (
            b": test\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
            [Event(b"first event", id="1"), Event(b"second event"), Event(b" third")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [Event(b""), Event(b"\n")]),
        (b"data:test\n\ndata: test\n\n", [Event(b"test"), Event(b"test")]),
        (
            b"event: add\ndata: 1\n\nevent: remove\ndata: 2\n\ndata: 3\n\n",
            [Event(b"1", "add"), Event(b"2", "remove"), Event(b"3")],
        ),
    ],
)
def test_the_examples_of_the_html_standard(stream, events):
    assert decode(stream) == events
    assert interpret(stream)[0] == events


@given(STREAM)
def test_a_stream_means_what_the_html_standard_says(stream):
    decoder = EventDecoder(BIG)
    assert (decoder.feed(stream), decoder.last_event_id) == interpret(stream)


@given(STREAM, CUTS)
def test_how_the_stream_is_cut_makes_no_difference(stream, at):
    decoder = EventDecoder(BIG)
    events = [event for chunk in cut(stream, at) for event in decoder.feed(chunk)]
    assert (events, decoder.last_event_id) == interpret(stream)


@given(STREAM, CUTS, st.integers(0, 60))
def test_the_bound_holds_however_the_stream_is_cut(stream, at, limit):
    try:
        whole = EventDecoder(limit).feed(stream)
    except MessageTooLarge:
        whole = None
    decoder = EventDecoder(limit)
    events: list[Event] | None = []
    try:
        for chunk in cut(stream, at):
            events += decoder.feed(chunk)
            assert len(decoder._data) + len(decoder._line_so_far) <= limit + 9
    except MessageTooLarge:
        events = None
    assert events == whole
    assert all(len(event.data) <= limit for event in whole or ())


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_comes_out_with_the_last_byte_that_it_needs(end):
    decoder = EventDecoder(BIG)
    stream = b"data: 1" + end + end
    needed = len(stream) - (end == b"\r\n")
    for position in range(needed - 1):
        assert decoder.feed(stream[position : position + 1]) == []
    assert decoder.feed(stream[needed - 1 : needed]) == [Event(b"1")]
    assert decoder.feed(stream[needed:]) == []


def test_a_byte_order_mark_is_skipped_at_the_start_only():
    mark = b"\xef\xbb\xbf"
    assert decode(mark + b"data: 1\n\n") == [Event(b"1")]
    assert decode(b"data: 1\n\n" + mark + b"data: 2\n\n") == [Event(b"1")]
    decoder = EventDecoder(BIG)
    assert [decoder.feed(bytes([byte])) for byte in mark] == [[], [], []]
    assert decoder.feed(b"data: 1\n\n") == [Event(b"1")]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_an_event_of_the_limit_passes_and_one_byte_more_does_not(limit):
    assert decode(b"data: " + b"x" * limit + b"\n\n", limit) == [Event(b"x" * limit)]
    with pytest.raises(MessageTooLarge):
        decode(b"data:" + b"x" * (limit + 1) + b"\n\n", limit)


@pytest.mark.parametrize("line", [b"data: 1\n", b"data\n", b": \n", b"id: 1\n", b"x"])
def test_an_endless_event_is_refused_unless_nothing_of_it_is_kept(line):
    decoder = EventDecoder(1000)
    kept = line.startswith((b"data", b"x"))

    def endless():
        for _ in range(3000):
            decoder.feed(line)

    if kept:
        with pytest.raises(MessageTooLarge, match="exceeds 1000 bytes"):
            endless()
    else:
        endless()


def test_an_id_counts_once_its_event_is_complete():
    decoder = EventDecoder(BIG)
    decoder.feed(b"id: 1\ndata: one\n\nid: 2\ndata: tw")
    assert decoder.last_event_id == "1"
    assert decoder.feed(b"o\n\n") == [Event(b"two", id="2")]
    assert decoder.last_event_id == "2"


def test_an_id_without_data_is_remembered_and_is_no_event():
    decoder = EventDecoder(BIG)
    assert decoder.feed(b"id: 7\n\n") == []
    assert decoder.last_event_id == "7"
    assert decoder.feed(b"data: x\n\n") == [Event(b"x", id="7")]


def test_a_priming_event_has_an_id_and_empty_data():
    assert decode(b"id: 1\ndata:\n\n") == [Event(b"", id="1")]


def test_an_empty_id_resets_what_to_resume_from():
    decoder = EventDecoder(BIG)
    decoder.feed(b"id: 1\n\nid\n\n")
    assert decoder.last_event_id is None


@pytest.mark.parametrize(
    ("value", "retry"),
    [
        (b"0", 0),
        (b"3000", 3000),
        (b"0000000000005", 5),
        (b"000", 0),
        (b"999999998", 999_999_998),
        (b"1000000000", 999_999_999),
        (b"5000000000", 999_999_999),
        (b"9" * 5000, 999_999_999),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1 ", None),
        (b"\xd9\xa1", None),
    ],
)
def test_retry_is_a_number_of_ascii_digits(value, retry):
    (event,) = decode(b"data: x\nretry: " + value + b"\n\n")
    assert event.retry == retry


def test_retry_is_told_even_without_data():
    assert decode(b"retry: 10\n\n") == [Event(b"", retry=10)]


def test_a_keep_alive_carries_nothing():
    decoder = EventDecoder(BIG)
    assert decoder.feed(KEEP_ALIVE * 3) == []
    assert decoder.feed(b"data: 1\n\n" + KEEP_ALIVE) == [Event(b"1")]


@given(
    st.text().map(lambda text: text.replace("\r", "").replace("\n", "").encode()),
    st.none() | st.text("abcdé:", min_size=1),
    st.none() | st.text("0123:ü", min_size=1),
    st.none() | st.integers(0, 10**9 - 1),
)
def test_what_was_encoded_decodes_to_the_same(data, event, event_id, retry):
    encoded = encode_event(data, event=event, event_id=event_id, retry=retry)
    assert decode(encoded) == [Event(data, event or "message", event_id, retry)]


def test_the_encoding_is_readable():
    assert encode_event(b"{}") == b"data: {}\n\n"
    assert encode_event(b"", event_id="1") == b"id: 1\ndata:\n\n"
    assert (
        encode_event(b"/x", event="endpoint", event_id="a", retry=5)
        == b"event: endpoint\nid: a\nretry: 5\ndata: /x\n\n"
    )


@pytest.mark.parametrize("size", [2_000_000, 4_000_000])
@pytest.mark.parametrize("line", [b"x" * 4096, b"\ndata: " + b"x" * 1000], ids=["one", "many"])
def test_the_work_for_a_large_event_grows_with_its_size_only(size, line):
    decoder, allocated = EventDecoder(2 * size), 0
    decoder.feed(b"data: ")
    tracemalloc.start()
    try:
        for _ in range(size // len(line)):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            decoder.feed(line)
            allocated += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert allocated < 12 * size
    (event,) = decoder.feed(b"\n\n")
    assert len(event.data) > size * 0.9
