"""Responses into bytes: what h11 reads is what was written."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.frontend.http1.response import ResponseWriter, refusal

DATE = b"date: today\r\n"


def written(
    parts: list[bytes],
    *,
    method: str = "GET",
    version: str = "1.1",
    status: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> tuple[ResponseWriter, bytes]:
    writer = ResponseWriter(method, version, keep_alive=True)
    writer.start(status, headers or [], DATE)
    last = len(parts) - 1
    return writer, b"".join(writer.write(p, more=n < last) for n, p in enumerate(parts))


def read(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "here")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body


@given(
    st.lists(st.binary(max_size=100), min_size=1, max_size=5),
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from(["1.1", "1.0"]),
    st.sampled_from([200, 202, 204, 304, 404, 599]),
    st.booleans(),
)
def test_a_response_is_read_as_it_was_written(
    parts: list[bytes],
    method: str,
    version: str,
    status: int,
    announced: bool,  # noqa: FBT001
):
    whole = b"".join(parts)
    headers = [(b"content-length", b"%d" % len(whole))] if announced and status != 204 else []
    writer, data = written(parts, method=method, version=version, status=status, headers=headers)
    head, body = read(data, method)
    assert head.status_code == status
    assert dict(head.headers)[b"date"] == b"today"
    is_empty = method == "HEAD" or status in {204, 304}
    assert body == (b"" if is_empty else whole)
    assert (b"connection", b"close") in list(head.headers) or writer.keep_alive


def test_the_head_waits_for_the_first_part():
    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    writer.start(200, [], DATE)
    assert not writer.has_begun
    assert writer.write(b"x", more=True).startswith(b"HTTP/1.1 200 OK\r\n")
    assert writer.has_begun


def test_an_empty_part_is_no_last_chunk():
    writer, _ = written([b"", b"", b""])
    assert writer.keep_alive
    assert read(written([b"a", b"", b"b"])[1])[1] == b"ab"


def test_the_application_may_close_the_connection():
    writer, data = written([b""], headers=[(b"connection", b"close"), (b"content-length", b"0")])
    assert not writer.keep_alive
    assert data.count(b"connection: close") == 1


def test_framing_is_not_the_applications():
    _, data = written([b"x"], headers=[(b"Transfer-Encoding", b"gzip")])
    assert b"gzip" not in data


@pytest.mark.parametrize("parts", [[b"abcd"], [b"ab"], [b"ab", b"cd"]])
def test_a_body_has_the_length_that_was_announced(parts: list[bytes]):
    with pytest.raises(ValueError, match="length"):
        written(parts, headers=[(b"content-length", b"3")])


@pytest.mark.parametrize(
    "header",
    [
        *((b"x", b"a\r\nset-cookie: b"), (b"x", b"a\nb"), (b"x", b"\0")),
        *((b"x y", b"a"), (b"", b"a"), (b":status", b"200"), (b"x:", b"a"), (b"x\n", b"a")),
    ],
)
def test_headers_cannot_be_smuggled_into_responses(header: tuple[bytes, bytes]):
    with pytest.raises(ValueError, match="not valid"):
        written([b""], headers=[header])


def test_a_refusal_is_a_whole_response():
    head, body = read(refusal(431, DATE))
    assert (head.status_code, head.reason, body) == (431, b"Request Header Fields Too Large", b"")
    assert (b"connection", b"close") in list(head.headers)
