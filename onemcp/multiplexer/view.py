"""What one endpoint shows: all backends under prefixed names, or one with its own names.

Theory of operation: `dispatch` is the second of the five stations of a call (frontend, auth check,
multiplexer, backend, transport). It decides synchronously where a request leads, from a routing
table that is rebuilt only when some backend's lists have changed, and waits only for a backend
that is just starting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from msgspec import Raw

from onemcp.backend import Backend, Call, Caller, Exchange
from onemcp.protocol import translation
from onemcp.protocol.errors import (
    BackendUnavailable,
    InvalidParams,
    MethodNotFound,
    ProtocolError,
    RemoteError,
    ResourceNotFound,
)
from onemcp.protocol.fields import Fields, join, plain, raw, split, text, value_of
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId
from onemcp.protocol.methods import (
    COMPLETE,
    DISCOVER,
    LISTEN,
    LISTS,
    PING,
    PROMPTS,
    PROMPTS_GET,
    RESOURCES_READ,
    TEMPLATES,
    TOOLS,
    TOOLS_CALL,
    Catalogue,
)
from onemcp.protocol.revisions import Era

from . import description
from .listen import ListenReply
from .listing import ListPages
from .reply import Immediate, Reply
from .routed import RoutedCall
from .subscriptions import Subscriber, read_filter
from .table import Route, RoutingTable, Source, build

if TYPE_CHECKING:
    from .multiplexer import Multiplexer

EMPTY: Final = Raw(b"{}")
_Handler: TypeAlias = Callable[["View", RequestId, Fields, Caller], Awaitable[Reply]]


class View:
    """What one endpoint shows.

    Attributes:
        name: The backend that it shows alone, or None for all of them.
    """

    def __init__(self, multiplexer: Multiplexer, name: str | None) -> None:
        """Show one backend of a multiplexer, or all."""
        self.name = name
        self._multiplexer = multiplexer
        self._subscribers: set[Subscriber] = set()
        self._subscribed: dict[tuple[Subscriber, str], str] = {}
        self._table: RoutingTable | None = None
        self._pages: dict[Catalogue, ListPages] = {}

    # --- what is shown -----------------------------------------------------------------------

    @property
    def backends(self) -> Sequence[Backend]:
        """The backends that are shown, in configuration order."""
        everything = self._multiplexer.backends
        if self.name is None:
            return tuple(everything.values())
        return (everything[self.name],) if self.name in everything else ()

    def shows(self, backend: Backend) -> bool:
        """Tell whether a backend is shown."""
        return self.name is None or backend.name == self.name

    @property
    def table(self) -> RoutingTable:
        """Where everything leads just now."""
        if self._table is None:
            self._table = build([self._source(backend) for backend in self.backends])
            self._pages = {
                kind: ListPages(kind, section) for kind, section in self._table.sections.items()
            }
        return self._table

    def discover(self) -> Raw:
        """Answer ``server/discover``."""
        identity = self._multiplexer.identity
        return description.discover_result(identity, self.backends, alone=self.name is not None)

    def initialize(self, revision: str) -> Raw:
        """Answer ``initialize`` in an agreed revision."""
        return description.initialize_result(
            self._multiplexer.identity, self.backends, revision, alone=self.name is not None
        )

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool must be repeated in HTTP headers."""
        route = self.table.route(TOOLS, tool)
        return () if route is None else route.mirrored

    def refresh(self) -> None:
        """Take note that lists may have changed, and tell subscribers of those that have."""
        before, self._table = self._table, None
        if before is None or not self._subscribers:
            return
        for kind, section in self.table.sections.items():
            if section.definitions != before.sections[kind].definitions:
                self.announce(Notification(kind.changed))

    def announce(self, note: Notification) -> None:
        """Tell subscribers of a change."""
        for subscriber in self._subscribers:
            subscriber.offer(note)

    def end_subscriptions(self) -> None:
        """End all subscriptions, because the gateway stops."""
        for subscriber in self._subscribers:
            subscriber.end()

    def _source(self, backend: Backend) -> Source:
        prefix = backend.config.prefix
        if prefix and self.name is None:
            prefix += self._multiplexer.separator
        return Source(backend.name, prefix if self.name is None else "", backend.listings)

    # --- requests ----------------------------------------------------------------------------

    async def dispatch(self, request: Request, caller: Caller) -> Reply:
        """Serve one request of a client.

        Raises:
            ProtocolError: What is wrong with the request, or with the backend it leads to.
        """
        handler = _HANDLERS.get((request.method, caller.era)) or _HANDLERS.get(
            (request.method, None)
        )
        if handler is None:
            raise MethodNotFound(f"Method not found: {request.method[:80]}")
        return await handler(self, request.id, split(request.params), caller)

    async def subscribe(
        self, lists: frozenset[str], uris: frozenset[str] = frozenset()
    ) -> Subscriber:
        """Subscribe to changed lists, and to those of some resources that can be subscribed to.

        The caller closes the subscriber.
        """
        offered = self._listable()
        subscriber = Subscriber(lists & offered, on_close=self._unsubscribe)
        self._subscribers.add(subscriber)
        try:
            for uri in sorted(uris):
                try:
                    await self.subscribe_resource(subscriber, uri)
                except ProtocolError:
                    continue  # the acknowledgement says what was granted
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    async def subscribe_resource(self, subscriber: Subscriber, uri: str) -> None:
        """Let a subscriber hear of a resource.

        Raises:
            ResourceNotFound: No backend offers that.
            RemoteError: The backend that owns the resource refuses.
        """
        if uri in subscriber.uris:
            return
        error: ProtocolError = ResourceNotFound(
            "no backend offers subscriptions to this resource", {"uri": uri}
        )
        for backend in self._candidates(uri):
            if backend.server is None or not backend.server.has("resources", "subscribe"):
                continue
            try:
                await backend.upstream.add(uri)
            except RemoteError as refused:
                error = refused
                continue
            subscriber.uris |= {uri}
            self._subscribed[subscriber, uri] = backend.name
            return
        raise error

    def unsubscribe_resource(self, subscriber: Subscriber, uri: str) -> None:
        """Let a subscriber hear of a resource no more."""
        subscriber.uris -= {uri}
        name = self._subscribed.pop((subscriber, uri), None)
        backend = None if name is None else self._multiplexer.backends.get(name)
        if backend is not None:
            backend.upstream.remove(uri)

    def _unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        for uri in subscriber.uris:
            self.unsubscribe_resource(subscriber, uri)

    def _listable(self) -> frozenset[str]:
        declared = description.capabilities(self.backends)
        return frozenset(kind.changed for kind in LISTS.values() if kind.capability in declared)

    # --- handlers ----------------------------------------------------------------------------

    async def _ping(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        del params, caller
        await trio.lowlevel.checkpoint_if_cancelled()
        return Immediate(request_id, EMPTY)

    async def _discover(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        del params, caller
        await trio.lowlevel.checkpoint_if_cancelled()
        return Immediate(request_id, self.discover())

    async def _listen(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        del caller
        lists, uris = read_filter(plain(params.get("notifications")))
        return ListenReply(request_id, await self.subscribe(lists, uris))

    async def _list(
        self, kind: Catalogue, request_id: RequestId, params: Fields, caller: Caller
    ) -> Reply:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_offered(kind.capability, kind.method)
        _ = self.table
        return Immediate(request_id, self._pages[kind].page(params, caller.era))

    async def _call_tool(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        return await self._call_named(TOOLS, TOOLS_CALL, request_id, params, caller)

    async def _get_prompt(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        return await self._call_named(PROMPTS, PROMPTS_GET, request_id, params, caller)

    async def _call_named(
        self, kind: Catalogue, method: str, request_id: RequestId, params: Fields, caller: Caller
    ) -> Reply:
        name = text(params, "name", "params.name")
        route = self._route(kind, name)
        backend = self._multiplexer.backends[route.backend]
        if route.name != name:
            params = {**params, "name": raw(route.name)}
        return await self._carry(request_id, backend, Call(method, params, caller))

    async def _read(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        uri = text(params, "uri", "params.uri")
        call = Call(RESOURCES_READ, params, caller)
        candidates = self._candidates(uri)
        if len(candidates) == 1:
            return await self._carry(request_id, candidates[0], call)
        for backend in candidates:
            reply = await self._carry_if_known(request_id, backend, call)
            if reply is not None:
                return reply
        raise self._not_found(uri, caller)

    async def _complete(self, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        reference = split(params.get("ref", EMPTY), "params.ref")
        match value_of(reference, "type", str):
            case "ref/prompt":
                route = self._route(PROMPTS, text(reference, "name", "params.ref.name"))
                name, reference["name"] = route.backend, raw(route.name)
            case "ref/resource":
                uri = text(reference, "uri", "params.ref.uri")
                found = self.table.route(TEMPLATES, uri)
                owners = self.table.owners(uri) if found is None else [found.backend]
                if not owners:
                    raise InvalidParams(f"Unknown resource template: {uri[:200]}")
                name = owners[0]
            case _:
                raise InvalidParams('params.ref.type must be "ref/prompt" or "ref/resource"')
        call = Call(COMPLETE, {**params, "ref": join(reference)}, caller)
        return await self._carry(request_id, self._multiplexer.backends[name], call)

    # --- carrying calls ----------------------------------------------------------------------

    def _route(self, kind: Catalogue, name: str) -> Route:
        route = self.table.route(kind, name)
        if route is None:
            self._check_offered(kind.capability, kind.method)
            raise InvalidParams(f"Unknown {kind.key.removesuffix('s')}: {name[:200]}")
        return route

    def _check_offered(self, capability: str, method: str) -> None:
        if capability not in description.capabilities(self.backends):
            raise MethodNotFound(f"Method not found: no backend here offers {method}")

    def _candidates(self, uri: str) -> list[Backend]:
        """Return the backends that may know a URI, the likeliest first."""
        owners = self.table.owners(uri)
        if owners:
            return [self._multiplexer.backends[name] for name in owners]
        return [
            backend
            for backend in self.backends
            if backend.is_up and backend.server is not None and backend.server.has("resources")
        ]

    @staticmethod
    def _not_found(uri: str, caller: Caller) -> ProtocolError:
        error = ResourceNotFound("Resource not found", {"uri": uri})
        if caller.era is Era.MODERN:
            return error
        return RemoteError(
            translation.translate_error(RESOURCES_READ, error.error, Era.LEGACY, uri)
        )

    async def _open(self, backend: Backend, call: Call, deadline: float) -> Exchange:
        with trio.move_on_at(deadline):
            return await backend.open(call)
        raise BackendUnavailable(
            f"backend {backend.name!r} did not come up in time: {backend.failure or 'starting'}"
        )

    async def _carry(self, request_id: RequestId, backend: Backend, call: Call) -> RoutedCall:
        terms = self._multiplexer.admit(backend)
        try:
            exchange = await self._open(backend, call, terms.deadline)
        except BaseException:
            terms.on_end()
            raise
        return RoutedCall(request_id, backend, exchange, terms)

    async def _carry_if_known(
        self, request_id: RequestId, backend: Backend, call: Call
    ) -> RoutedCall | None:
        """Carry a call, unless the first thing the backend says is that it lacks the resource."""
        terms = self._multiplexer.admit(backend)
        try:
            exchange = await self._open(backend, call, terms.deadline)
            try:
                first = None
                with trio.move_on_at(terms.deadline):
                    first = await exchange.receive()
            except BaseException:
                exchange.close()
                raise
        except ProtocolError:
            terms.on_end()
            return None
        except BaseException:
            terms.on_end()
            raise
        if isinstance(first, Failure) and translation.is_not_found(first.error):
            terms.on_end()
            return None
        return RoutedCall(request_id, backend, exchange, terms, first)


def _list_handler(kind: Catalogue) -> _Handler:
    async def handle(view: View, request_id: RequestId, params: Fields, caller: Caller) -> Reply:
        return await view._list(kind, request_id, params, caller)  # noqa: SLF001

    return handle


_HANDLERS: Final[dict[tuple[str, Era | None], _Handler]] = {
    (PING, Era.LEGACY): View._ping,  # noqa: SLF001
    (DISCOVER, Era.MODERN): View._discover,  # noqa: SLF001
    (LISTEN, Era.MODERN): View._listen,  # noqa: SLF001
    (TOOLS_CALL, None): View._call_tool,  # noqa: SLF001
    (PROMPTS_GET, None): View._get_prompt,  # noqa: SLF001
    (RESOURCES_READ, None): View._read,  # noqa: SLF001
    (COMPLETE, None): View._complete,  # noqa: SLF001
    **{(method, None): _list_handler(kind) for method, kind in LISTS.items()},
}
"""What serves a method, for one era or for both."""
