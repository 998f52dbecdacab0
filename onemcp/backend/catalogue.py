"""What a backend lists: its tools, prompts, resources and templates, fetched and kept current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from msgspec import Raw

from onemcp.protocol import headers
from onemcp.protocol.errors import BackendProtocolError, InvalidParams, RemoteError
from onemcp.protocol.fields import Fields, items, plain, raw, split, value_of
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Failure
from onemcp.protocol.methods import CATALOGUES, TOOLS, Catalogue

from .call import Call, Caller
from .connection import Connection
from .handshake import answer_of

MAX_PAGES: Final = 1000
"""How many pages of one list are fetched before the backend is taken to page for ever."""

MAX_ITEMS: Final = 50_000
"""How many items of one list are kept."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""How large one list may be."""

MAX_TTL: Final = 2**53 - 1
"""The longest freshness that is believed, in milliseconds."""


@attrs.frozen
class Item:
    """One thing that a backend lists.

    Attributes:
        identity: Its name, URI or URI template, as the backend has it.
        definition: The whole item, undecoded.
        mirrored: A tool's parameters that are repeated in HTTP headers.
        fault: What is wrong with what a tool says of them, or None. Such a tool is none for whoever
            speaks the modern era over HTTP, and as good as any other for everybody else.
    """

    identity: str
    definition: Raw = attrs.field(eq=bytes)
    mirrored: tuple[MirroredParameter, ...] = ()
    fault: str | None = None


@attrs.frozen
class Listing:
    """One list of a backend.

    Attributes:
        items: What it lists, in the backend's order.
        ttl_ms: How long the backend considers the list fresh, in milliseconds, or None.
        is_public: Whether the backend says that the list is the same for every caller.
    """

    items: tuple[Item, ...] = ()
    ttl_ms: int | None = None
    is_public: bool = False


EMPTY: Final = Listing()

Listings = Mapping[Catalogue, Listing]
"""Everything a backend lists."""

NOTHING: Final[Listings] = dict.fromkeys(CATALOGUES, EMPTY)


async def fetch(
    connection: Connection,
    catalogue: Catalogue,
    caller: Caller,
    *,
    on_rejected: Callable[[str, str], object],
    mirrors: bool,
) -> Listing:
    """Fetch one list of a backend, all its pages.

    Args:
        connection: The connection to the backend.
        catalogue: Which list.
        caller: Onemcp itself.
        on_rejected: Called with the name of an item that is left out, and the reason.
        mirrors: Whether parameters are repeated in headers on this connection, so that tools with
            invalid ``x-mcp-header`` annotations must be left out (Schema Extension).

    Raises:
        RemoteError: The backend answered with an error.
        BackendProtocolError: The backend answered with something that is no list.
    """
    found: dict[str, Item] = {}
    params: Fields = {}
    seen: set[str] = set()
    count, size, ttls, is_public = 0, 0, list[int | None](), True
    for _ in range(MAX_PAGES):
        page = await _page(connection, Call(catalogue.method, params, caller))
        ttls.append(_ttl(page))
        is_public = is_public and _is_public(page)
        for definition in _items_of(page, catalogue):
            count, size = count + 1, size + len(definition)
            try:
                item = _item(definition, catalogue)
            except InvalidParams as error:
                on_rejected("?", str(error))
                continue
            if mirrors and item.fault is not None:
                on_rejected(item.identity, item.fault)
            else:
                found.setdefault(item.identity, item)
        cursor = value_of(page, "nextCursor", str)
        if cursor is None:
            ttl = min((ttl for ttl in ttls if ttl is not None), default=None)
            return Listing(tuple(found.values()), ttl, is_public)
        if cursor in seen or count > MAX_ITEMS or size > MAX_BYTES:
            raise BackendProtocolError(f"{catalogue.method} pages for ever")
        seen.add(cursor)
        params = {"cursor": raw(cursor)}
    raise BackendProtocolError(f"{catalogue.method} has more than {MAX_PAGES} pages")


async def _page(connection: Connection, call: Call) -> Fields:
    exchange = connection.open(call)
    try:
        answer = await answer_of(exchange)
    finally:
        exchange.close()
    if isinstance(answer, Failure):
        raise RemoteError(answer.error)
    try:
        return split(answer.result, "the result")
    except InvalidParams as error:
        raise BackendProtocolError(f"{call.method} was answered with no object") from error


def _items_of(page: Fields, catalogue: Catalogue) -> list[Raw]:
    source = page.get(catalogue.key)
    if source is None:
        raise BackendProtocolError(f"{catalogue.method} was answered without {catalogue.key!r}")
    try:
        return items(source, catalogue.key)
    except InvalidParams as error:
        raise BackendProtocolError(f"{catalogue.method}: {error}") from error


def _item(definition: Raw, catalogue: Catalogue) -> Item:
    """Read one item.

    Raises:
        InvalidParams: It is none.
    """
    fields = split(definition, f"an item of {catalogue.method}")
    identity = value_of(fields, catalogue.identity, str)
    if identity is None:
        raise InvalidParams(f"an item of {catalogue.method} has no {catalogue.identity}")
    mirrored: tuple[MirroredParameter, ...] = ()
    fault: str | None = None
    if catalogue is TOOLS and _may_be_annotated(bytes(definition)):
        try:
            mirrored = headers.mirrored_parameters(plain(fields.get("inputSchema")))
        except headers.InvalidAnnotation as error:
            fault = str(error)
    return Item(identity, definition.copy(), mirrored, fault)


def _may_be_annotated(tool: bytes) -> bool:
    """Tell whether it is worth the while to look for annotations, which may hide in escapes."""
    return headers.ANNOTATION.encode() in tool or rb"\u" in tool


def _ttl(page: Fields) -> int | None:
    ttl: Any = plain(page.get("ttlMs"))
    return min(max(0, ttl), MAX_TTL) if isinstance(ttl, int) and not isinstance(ttl, bool) else None


def _is_public(page: Fields) -> bool:
    return bool(plain(page.get("cacheScope")) == "public")
