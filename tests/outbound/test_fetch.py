"""Requests to addresses that strangers have named: where they go, and what may come back."""

from __future__ import annotations

import ssl
from functools import partial
from ipaddress import ip_address

import httpx
import pytest
import trio

from onemcp.outbound import AnswerTooLarge, Unreachable, is_public, resolve
from onemcp.outbound.fetching import fetch

LIMIT = 10
LOOPBACK = ip_address("127.0.0.1")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  (nothing is bound)
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::5db8:d822", False),
        ("::93.184.216.34", False),
        ("168.63.129.16", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
    ],
)
def test_what_anybody_could_reach_is_public(address, public):
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "127.0.0.1"])
async def test_an_address_is_known_however_it_is_written(host):
    assert await resolve(host, 80) == (LOOPBACK,)


@pytest.mark.parametrize("host", ["a" * 300, "no such name", "\ud800", "x\0y"])
async def test_what_is_no_name_leads_nowhere(host):
    with trio.fail_after(LIMIT), pytest.raises(Unreachable):
        await resolve(host, 80)


async def asked(answer: bytes, *addresses, url: str = "http://id.example.com:{}/x"):
    """Ask a server that says `answer`; return what it was asked, and what came back."""
    heard: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            said = b""
            while not said.endswith(b"body"):
                said += await stream.receive_some()
            heard.append(said)
            await stream.send_all(answer)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
            port = listener.socket.getsockname()[1]
            request = httpx.Request("POST", url.format(port), content=b"body")
            context = ssl.create_default_context()
            try:
                got = await fetch(request, addresses or (LOOPBACK,), context, max_body=100)
            finally:
                nursery.cancel_scope.cancel()
    return heard[0], got


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi"


async def test_the_address_is_connected_to_and_the_name_is_told():
    heard, answer = await asked(OK)
    assert heard.startswith(b"POST /x HTTP/1.1\r\nHost: id.example.com:")
    assert (answer.status, answer.body, answer.headers["x"]) == (200, b"hi", "y")


async def test_the_next_address_is_tried():
    _, answer = await asked(OK, ip_address("127.0.0.2"), LOOPBACK)
    assert answer.body == b"hi"


async def test_no_redirect_is_followed():
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    _, answer = await asked(head)
    assert answer.status == 302


async def test_a_stream_of_events_is_not_read():
    _, answer = await asked(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: x")
    assert answer.body == b""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, AnswerTooLarge),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", Unreachable),
        (b"nonsense", Unreachable),
        (b"", Unreachable),
    ],
    ids=["too large", "broken off", "nonsense", "nothing"],
)
async def test_what_is_no_answer_is_given_up(answer, expected):
    with pytest.RaisesGroup(expected, flatten_subgroups=True, allow_unwrapped=True):
        await asked(answer)


async def test_tls_is_spoken_with_the_name_and_not_with_the_address():
    hello: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            hello.append(await stream.receive_some())

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
            port = listener.socket.getsockname()[1]
            request = httpx.Request("GET", f"https://id.example.com:{port}/")
            with pytest.raises(Unreachable):
                await fetch(request, (LOOPBACK,), ssl.create_default_context(), max_body=1)
            nursery.cancel_scope.cancel()
    assert b"id.example.com" in hello[0]
