"""What becomes of a call when the network between onemcp and a backend misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from onemcp.backend.http import _sse
from onemcp.protocol.errors import BackendLost, BackendUnavailable
from tests.backend.http.servers import (
    Legacy,
    Live,
    Modern,
    Server,
    Sse,
    connecting,
    failure_of,
    plain,
    serving,
)
from tests.support.eventually import eventually
from tests.support.misbehaving import FAULTS, Proxy, misbehaving
from tests.support.process_tree import open_descriptors

KINDS: dict[str, type[Server]] = {"modern": Modern, "legacy": Legacy, "sse": Sse}
HARMLESS = {"drip", "oddly"}
BROKEN = sorted(FAULTS.keys() - HARMLESS - {"swallow", "half"})
"""Those after which there is nothing to wait for. After half an answer the rest may yet come."""


@asynccontextmanager
async def through_proxy(kind: str) -> AsyncIterator[tuple[Proxy, Live]]:
    """Be connected to a backend through a proxy that passes everything on, for now."""
    before = len(open_descriptors())
    async with serving(KINDS[kind]()) as url:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        async with misbehaving(address.hostname, address.port) as proxy:
            own = f"http://127.0.0.1:{proxy.port}/mcp"
            async with connecting(own, kind="sse" if kind == "sse" else None) as live:
                assert live.lost is None, live.lost
                yield proxy, live
            await eventually(lambda: not proxy.open, "all connections are closed")
    assert len(open_descriptors()) <= before


async def outcome(live: Live) -> Any:
    """Return the result of a call, or the code of the one error that it ended with."""
    exchange = live.open("tools/call", name="t")
    answer = await exchange.receive()
    assert exchange.finished
    return plain(answer.result) if hasattr(answer, "result") else failure_of(answer)["code"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", sorted(HARMLESS))
@pytest.mark.parametrize("direction", ["requests", "answers"])
async def test_how_bytes_come_is_of_no_matter(kind: str, fault: str, direction: str) -> None:
    async with through_proxy(kind) as (proxy, live):
        setattr(proxy, direction, FAULTS[fault])
        for _ in range(3):
            assert await outcome(live) == {"did": "tools/call"}


@pytest.mark.parametrize("kind", ["modern", "legacy"])
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_answer_is_one_error_and_the_next_call_is_well(
    kind: str, fault: str
) -> None:
    async with through_proxy(kind) as (proxy, live):
        proxy.answers = FAULTS[fault]
        assert await outcome(live) == BackendLost.code
        proxy.answers = None
        # It is not the rest of what came before, either.
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.lost is None


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_stream_is_one_error_and_the_end_of_the_connection(fault: str) -> None:
    async with through_proxy("sse") as (proxy, live):
        proxy.answers = FAULTS[fault]
        assert await outcome(live) == BackendLost.code
        await live.over.wait()
        assert live.lost is not None
        with pytest.raises(BackendUnavailable):
            live.open("tools/list")


@pytest.mark.parametrize("kind", ["modern", "legacy"])
async def test_a_call_that_is_not_answered_is_given_up_by_its_caller_alone(kind: str) -> None:
    async with through_proxy(kind) as (proxy, live):
        proxy.answers = FAULTS["swallow"]
        exchange = live.open("tools/call", name="t")
        with trio.move_on_after(0.1):
            await exchange.receive()
        exchange.close()
        proxy.answers = None
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.lost is None


async def test_a_message_that_is_not_taken_ends_an_old_connection(monkeypatch) -> None:
    """What is posted there comes in order: one that hangs would hold up all behind it."""
    monkeypatch.setattr(_sse, "SEND_TIMEOUT", 0.1)
    async with through_proxy("sse") as (proxy, live):
        proxy.requests = FAULTS["swallow"]
        assert await outcome(live) == BackendLost.code
        await live.over.wait()
        assert live.lost is not None
