"""What hostile bytes reach, each as a function of bytes that fails where they do harm.

What must hold: nothing but the errors that a part declares comes out of it; how a stream is cut
makes no difference; what is kept is bounded; what goes on is one line of valid JSON.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.backend import Exchange
from onemcp.backend.http1 import RemoteProtocolError
from onemcp.backend.http1._parser import ResponseParser
from onemcp.frontend.http1.parser import RequestParser
from onemcp.protocol import headers, jsonrpc, tracecontext
from onemcp.protocol.errors import HeaderMismatch, InvalidParams, MessageTooLarge, ProtocolError
from onemcp.protocol.fields import MALFORMED, join, plain, split
from onemcp.protocol.framing import HEAD_BYTES, LineDecoder, Oversized
from onemcp.protocol.httpheaders import IndexedHeaders
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN, V2025_03_26
from onemcp.protocol.sse import Event, EventDecoder
from tests.backend.core.fakes import Duplex, call

LIMIT = 4096
"""The bound that parts are given, small enough for a fuzzer to exceed."""

START = re.compile(rb"(?=(?:GET|POST) /)")
"""Where a request may begin."""

MIRRORED = (
    headers.MirroredParameter(("city",), "City"),
    headers.MirroredParameter(("at", "hour"), "Hour"),
)
REVISIONS = (LATEST_LEGACY, V2025_03_26, LATEST_MODERN)


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut bytes into pieces whose lengths depend on a seed."""
    sizes = itertools.cycle((1 + seed % 7, 1 + seed // 7 % 61, 1 + seed // 3))
    found, start = [], 0
    while start < len(data):
        size = next(sizes)
        found.append(data[start : start + size])
        start += size
    return found


def split_seed(data: bytes) -> tuple[int, bytes]:
    """Return the first byte, which says how to cut, and what follows."""
    return (data[0] if data else 0), data[1:]


# --- HTTP/1.1 ----------------------------------------------------------------------------------


def requests(data: bytes) -> None:
    """The parser of the frontend."""
    seed, data = split_seed(data)
    whole = RequestParser(LIMIT)
    whole.feed(memoryview(data))
    taken = [_request(each) for each in whole.requests if each.complete]
    for parts in (pieces(data, seed), START.split(data)):  # as they come, and one by one
        cut = RequestParser(LIMIT)
        for part in parts:
            cut.feed(memoryview(part))
            assert cut.error is not None or cut._pending <= LIMIT
        if len(data) <= LIMIT:  # beyond it, how much comes at once may count
            assert taken == [_request(each) for each in cut.requests if each.complete]
            assert whole.error == cut.error


def _request(request: Any) -> tuple[Any, ...]:
    return (request.method, request.target, request.headers, request.keep_alive, request.body)


def responses(data: bytes) -> None:
    """The parser of the backend side."""
    seed, data = split_seed(data)
    whole = _response([data])
    if len(data) <= LIMIT:
        assert whole == _response(pieces(data, seed))


def _response(parts: list[bytes]) -> tuple[Any, ...] | None:
    parser = ResponseParser()
    try:
        for part in parts:
            parser.feed(part)
        parser.feed_eof()
    except RemoteProtocolError:
        if not parser.complete:
            return None
    return parser.status, parser.headers, parser.take()


# --- messages ----------------------------------------------------------------------------------


def messages(data: bytes) -> None:
    """The envelope of JSON-RPC, and batches of it."""
    with suppress(ProtocolError):
        for each in jsonrpc.decode_batch(data, 10) or ():
            _message(bytes(each))
    jsonrpc.peek_id(data)
    _message(data)


def _message(data: bytes) -> None:
    try:
        message = jsonrpc.decode(data)
    except ProtocolError:
        return
    line = jsonrpc.encode(message)
    assert b"\n" not in line
    assert b"\r" not in line
    assert type(jsonrpc.decode(line)) is type(message)
    with suppress(ValueError, RecursionError):  # msgspec and json differ in what numbers may be
        json.loads(line)
    if isinstance(message, jsonrpc.Request | jsonrpc.Notification):
        with suppress(InvalidParams):
            fields = split(message.params)
            assert split(join(fields)) == fields


# --- streams -----------------------------------------------------------------------------------


def events(data: bytes) -> None:
    """The reader of server-sent events."""
    seed, data = split_seed(data)
    assert _events([data]) == _events(pieces(data, seed))


def _events(parts: list[bytes]) -> tuple[list[Event], bool]:
    decoder, found = EventDecoder(LIMIT), []
    try:
        for part in parts:
            found += decoder.feed(part)
            assert len(decoder._data) + len(decoder._line_so_far) <= LIMIT + 16
    except MessageTooLarge:
        # What the same bytes bring before it is too much depends on where they are cut.
        return [], True
    return found, False


def lines(data: bytes) -> None:
    """The reader of lines, as of a program's output."""
    seed, data = split_seed(data)
    assert _lines([data]) == _lines(pieces(data, seed))


def _lines(parts: list[bytes]) -> list[bytes | Oversized]:
    decoder, found = LineDecoder(LIMIT), []
    for part in parts:
        found += decoder.feed(part)
        assert len(decoder._pending) <= max(LIMIT, HEAD_BYTES)
    last = decoder.finish()
    return found if last is None else [*found, last]


def connection(data: bytes) -> None:
    """A whole connection to a program that says anything, with calls in flight."""
    seed, data = split_seed(data)
    trio.run(_converse, seed, data, clock=MockClock(autojump_threshold=0))


async def _converse(seed: int, data: bytes) -> None:
    revision = REVISIONS[seed % len(REVISIONS)]
    duplex = Duplex(pin=revision)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(duplex.run)
        if revision == LATEST_MODERN:
            await duplex.peer.discovered(tools={})
        else:
            await duplex.peer.initialized(revision, tools={})
        await duplex.wait_up()
        exchanges = [
            duplex.connection.open(call(owner="ann", params={"name": "x"})),
            duplex.connection.open(call(owner="bob", params={"_meta": {"progressToken": 7}})),
        ]
        duplex.connection.abandon(exchanges.pop())
        for found in _batches(data, seed):
            duplex.peer.say_lines(*found)
            await wait_all_tasks_blocked()
        duplex.peer.end()
        await duplex.wait_lost()
    _check_ended(duplex, exchanges)


def _batches(data: bytes, seed: int) -> Iterator[list[bytes | Oversized]]:
    decoder = LineDecoder(LIMIT)
    for piece in pieces(data, seed):
        if found := decoder.feed(piece):
            yield found


def _check_ended(duplex: Duplex, exchanges: list[Exchange]) -> None:
    assert not duplex.connection.inbound.exchanges
    assert all(exchange.finished for exchange in exchanges)
    for note in duplex.notes:
        _message(jsonrpc.encode(note))


# --- headers -----------------------------------------------------------------------------------


def fields(data: bytes) -> None:
    """The headers of MCP, beside a body that they ought to repeat."""
    head, _, body = data.partition(b"\n\n")
    pairs = (line.partition(b":") for line in head.split(b"\n"))
    given = IndexedHeaders((name.strip().lower(), value.strip()) for name, _, value in pairs)
    for _, value in given:
        with suppress(HeaderMismatch):
            text = headers.decode_value(value)
            assert headers.decode_value(headers.encode_value(text).encode()) == text
    with suppress(InvalidParams):
        params = split(body or b"{}")
        for revision in REVISIONS:
            _refused(
                headers.check_request, given, headers.Repeated.of("tools/call", params, revision)
            )
        _refused(headers.check_parameters, given, MIRRORED, params)
        _check_headers(headers.parameter_headers(MIRRORED, plain(params.get("arguments"))))
        adopted = tracecontext.adopt(join(params), given)
        _check_headers(tracecontext.to_headers(split(adopted)))
    with suppress(headers.InvalidAnnotation, *MALFORMED):
        headers.mirrored_parameters(msgspec.json.decode(body))


def _refused(check: Callable[..., None], *arguments: Any) -> None:
    with suppress(HeaderMismatch):
        check(*arguments)


def _check_headers(written: Sequence[tuple[str, str] | tuple[bytes, bytes]]) -> None:
    for each in itertools.chain.from_iterable(written):
        text = each if isinstance(each, str) else each.decode("latin-1")
        assert text.isascii()
        assert not {"\r", "\n", "\0"} & {*text}


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (requests, responses, messages, events, lines, connection, fields)
}
"""All targets, by name."""
