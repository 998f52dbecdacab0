"""Frames that nobody should send, from clients and from backends."""

from __future__ import annotations

import json
import random

import trio

from tests.faults.figures import Figure, Tally
from tests.faults.gateways import Gateway, Kind, backend, running
from tests.faults.wire import INITIALIZE

AT_ONCE = 8
PER_CONNECTION = 20
PATIENCE = 2.0
"""Seconds that a connection is kept open for an answer to what may need none."""
BODIES = (
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {}}},
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE},
    {"jsonrpc": "2.0", "id": "a", "method": "tools/list", "params": {"cursor": "AAAA"}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    {"jsonrpc": "2.0", "id": 3, "result": {"content": []}},
    {"jsonrpc": "2.0", "id": 4, "method": "subscriptions/listen", "params": {"_meta": {}}},
    [{"jsonrpc": "2.0", "id": 5, "method": "ping"}],
)
SPICES = (
    b"\r\n",
    b"\x00",
    b"\xff",
    b"{",
    b'"',
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Mcp-Session-Id: x\r\n",
    b"Mcp-Method: tools/call\r\n",
    b"MCP-Protocol-Version: 2026-07-28\r\n",
    b"Authorization: Bearer x\r\n",
    b"[" * 1000,
    b"A" * 9000,
    b"1e999",
    b"\\ud800",
)


async def fuzzed(kind: Kind, share: float) -> Figure:
    """Send frames from both sides; in between and afterwards the gateway must answer as ever."""
    wanted = max(2000, int(1_000_000 * share))
    servers = {"b": backend("b"), "babbling": backend("babbling", "babble")}
    tally, sent = Tally(), 0
    async with running(kind, servers, wait_for=servers) as gateway:

        async def from_clients(number: int) -> None:
            nonlocal sent
            chance = random.Random(number)  # noqa: S311 - to be repeated
            while sent < wanted:
                sent += PER_CONNECTION
                await _attack(gateway, chance)

        async def from_backend() -> None:
            nonlocal sent
            async with await gateway.client() as client:
                while sent < wanted:
                    await tally.call(client, "babbling", f"call-{sent}")
                    await tally.call(client, "b", f"call-{sent}")
                    sent += 100

        async with trio.open_nursery() as nursery:
            for number in range(AT_ONCE):
                nursery.start_soon(from_clients, number)
            nursery.start_soon(from_backend)
        async with await gateway.client() as client:
            await tally.call(client, "b", "afterwards")
        answered = tally.outcomes["answered"] == tally.outcomes.total()
    return Figure(
        "hostile frames from client and backend sides, without crash, hang or lost answer",
        f"{sent:,}",
        "1,000,000",
        answered and sent >= wanted,
        f"{tally.outcomes.total():,} calls in between: {dict(tally.outcomes)}"
        + "".join(f"; {each}" for each in tally.lost[:3]),
    )


async def _attack(gateway: Gateway, chance: random.Random) -> None:
    """Send one connection full of mangled requests, and hang up."""
    stream = await trio.open_tcp_stream("127.0.0.1", gateway.port)
    async with stream:
        try:
            with trio.move_on_after(PATIENCE):
                requests = (_request(gateway, chance) for _ in range(PER_CONNECTION))
                await stream.send_all(b"".join(requests))
                await stream.receive_some()
        except trio.BrokenResourceError:
            pass  # refused, as it should be


def _request(gateway: Gateway, chance: random.Random) -> bytes:
    body = bytearray(json.dumps(chance.choice(BODIES)).encode())
    fields = {
        "Host": f"127.0.0.1:{gateway.port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(body)),
        **gateway.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    path = chance.choice((gateway.kind.path, "/", "/sse", "/.well-known/x", "/%2e%2e/"))
    method = chance.choice(("POST", "GET", "DELETE", "OPTIONS", "PRI"))
    head = bytearray(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    for part in (head, body):
        for _ in range(chance.choice((0, 0, 1, 3))):
            place = chance.randint(0, len(part))
            part[place:place] = chance.choice(SPICES)
    return bytes(head + body)
