"""Parts of HTTP/1.1 messages, some of them not quite right, to be put together by Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

_odd = st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b"\x7f", b"\xff"])
_value = st.sampled_from(
    [
        *(b"", b"here", b"a b", b"3", b"03", b"+3", b"-3", b"3, 3", b"3 3", b"0x3", b"99", b"3_0"),
        *(b"chunked", b"Chunked", b"chunked, chunked", b"gzip, chunked", b"identity", b"xchunked"),
        *(b"chunked\x0b", b'"chunked"', b"close", b"keep-alive", b"upgrade", b"100-continue", b"0"),
    ]
)
_chunk = st.sampled_from(
    [
        *(b"3\r\nabc\r\n", b"1\r\na\r\n", b"0\r\n\r\n", b"0\r\nT: x\r\n\r\n", b"3;a=b\r\nabc\r\n"),
        *(b"3 \r\nabc\r\n", b"0x3\r\nabc\r\n", b"-1\r\n", b"3\nabc\n", b"3\r\nabcd\r\n"),
        *(b"3\r\nabc", b"ffffffffffffffffff\r\n", b"+3\r\nabc\r\n", b"3;\0\r\nabc\r\n", b"\r\n"),
        *(b"0\r\nContent-Length: 1\r\n\r\n", b"0\r\n x\r\n\r\n", b"3;\nx\r\nabc\r\n"),
        *(b"03\r\nabc\r\n", b"03\r\nabc", b"0\r\nHost: x\r\nContent-Length: 1\r\n\r\n"),
    ]
)

end = st.sampled_from([b"\r\n"] * 9 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n "])
"""The end of a line."""

space = st.sampled_from([b" ", b" ", b" ", b"\t", b"  ", b""])
"""What is between the words of a first line."""

version = st.sampled_from(
    [b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b""]
)
"""The version in a first line."""

body = st.one_of(st.just(b""), st.just(b"abc"), st.lists(_chunk, max_size=4).map(b"".join))
"""What follows a head."""


def joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return the parts one behind the other."""
    return st.tuples(*parts).map(b"".join)


def lines(names: Iterable[bytes], sound: Iterable[bytes], most: int) -> st.SearchStrategy[bytes]:
    """Return the lines of headers, two of three of which are sound but for their ends.

    Args:
        names: What may be in front of a colon in the others.
        sound: Those that are sound.
        most: How many lines there may be.
    """
    header = joined(st.sampled_from([*names]), _odd, st.just(b":"), _odd, _value, _odd)
    well_formed = st.sampled_from([*sound])
    line = joined(st.one_of(well_formed, well_formed, header), end)
    return st.lists(line, max_size=most).map(b"".join)


def changed(data: st.DataObject, sound: bytes) -> bytes:
    """Return a sound message with a byte or two taken out, and others put in there."""
    where = data.draw(st.integers(0, len(sound) - 1))
    put_in = data.draw(st.binary(max_size=3))
    return sound[:where] + put_in + sound[where + data.draw(st.integers(0, 2)) :]
