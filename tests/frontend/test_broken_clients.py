"""What a gateway feels when the network between it and a client misbehaves."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import h11
import pytest
import trio

from tests.frontend.site import CALL, Client, Site, modern_headers, open_site, until, with_meta
from tests.multiplexer.fakes import result
from tests.support.misbehaving import FAULTS, Fault, Proxy, misbehaving
from tests.support.process_tree import open_descriptors

HARMLESS = {"drip", "oddly"}
ENDLESS = {
    "endless header": (b"POST /mcp HTTP/1.1\r\nx: ", b"x" * 65536),
    "endless headers": (b"POST /mcp HTTP/1.1\r\n", b"x: y\r\n" * 10000),
    "endless chunks": (
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        b"10000\r\n" + b" " * 65536 + b"\r\n",
    ),
}
BROKEN = sorted(FAULTS.keys() - HARMLESS)
PATIENCE = 60
"""Seconds that an answer may take."""
SILENCE = 0.2
"""Seconds after which one that was swallowed isn't waited for."""


@asynccontextmanager
async def through_proxy() -> AsyncIterator[tuple[Site, Proxy]]:
    """Run a site behind a proxy; nothing may be left open when its clients have gone."""
    async with open_site() as site:
        site.server.handlers["tools/call"] = functools.partial(result, era_fields=True)({"ok": 1})
        assert (await site.post_modern(CALL)).status == 200
        before = len(open_descriptors())
        async with misbehaving("127.0.0.1", site.listener.getsockname()[1]) as proxy:
            yield site, proxy
        await until(lambda: len(open_descriptors()) <= before)
        assert not site.world.multiplexer.in_flight


async def connect(site: Site, proxy: Proxy) -> Client:
    stream = await trio.open_tcp_stream("127.0.0.1", proxy.port)
    client = Client(stream, site.host)
    site.clients.append(client)
    return client


async def ask(client: Client, patience: float = PATIENCE) -> int | None:
    """Return the status of the answer to a call; None where there is none."""
    try:
        with trio.move_on_after(patience):
            return (await client.ask("POST", "/mcp", modern_headers(CALL), with_meta(CALL))).status
    except (h11.RemoteProtocolError, trio.BrokenResourceError, AssertionError):
        pass
    return None


def request_fault(name: str) -> Fault:
    """Return what becomes of requests: what never ends is in their own words."""
    if name not in ENDLESS:
        return FAULTS[name]
    start, part = ENDLESS[name]

    async def endlessly(_data: bytes, sink: trio.SocketStream) -> None:
        await sink.send_all(start)
        for _ in range(256):
            await sink.send_all(part)

    return endlessly


@pytest.mark.parametrize("direction", ["requests", "answers"])
@pytest.mark.parametrize("fault", sorted(HARMLESS))
async def test_how_bytes_come_is_of_no_matter(fault: str, direction: str):
    async with through_proxy() as (site, proxy):
        setattr(proxy, direction, FAULTS[fault])
        client = await connect(site, proxy)
        for _ in range(3):
            answer = await client.ask("POST", "/mcp", modern_headers(CALL), with_meta(CALL))
            assert (answer.status, answer.json["result"]["ok"]) == (200, 1)
        await client.close()


@pytest.mark.parametrize("direction", ["requests", "answers"])
@pytest.mark.parametrize("fault", BROKEN)
async def test_what_breaks_one_connection_is_felt_on_no_other(fault: str, direction: str):
    async with through_proxy() as (site, proxy):
        healthy = await site.connect()
        setattr(
            proxy, direction, request_fault(fault) if direction == "requests" else FAULTS[fault]
        )
        client = await connect(site, proxy)
        status = await ask(client, SILENCE)
        assert status is None or status == 200 or 400 <= status < 500
        assert (await ask(healthy)) == 200
        setattr(proxy, direction, None)
        again = await connect(site, proxy)
        assert await ask(again) == 200
        for each in (client, again, healthy):
            await trio.aclose_forcefully(each.stream)


@pytest.mark.parametrize("fault", ["close", "reset", "half and reset"])
async def test_a_stream_that_breaks_is_given_back(fault: str):
    async with through_proxy() as (site, proxy):
        session = await site.open()
        client = await connect(site, proxy)
        await client.begin("GET", "/mcp", session.headers)
        await client.stream_begins()
        await until(lambda: site.application.bounds.streams.taken == 1)
        proxy.requests = proxy.answers = FAULTS[fault]
        await client.stream.send_all(b"x")
        with suppress(trio.BrokenResourceError):
            await client.ends()
        await until(lambda: site.application.bounds.streams.taken == 0)
        await trio.aclose_forcefully(client.stream)
        assert (await session.delete()).status in {200, 204}
