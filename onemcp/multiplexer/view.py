"""What one endpoint shows: all backends under prefixed names, or one with its own names.

Theory of operation: `dispatch` is the second of the five stations of a call (frontend, auth check,
multiplexer, backend, transport). It decides synchronously where a request leads, from a routing
table that is rebuilt only when some backend's lists have changed, and waits only for a backend
that is just starting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from msgspec import Raw

from onemcp.backend import Backend, Call, Caller
from onemcp.protocol.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidParams,
    MethodNotFound,
    Overloaded,
    ProtocolError,
)
from onemcp.protocol.fields import Fields, join, plain, raw, split, text, value_of
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Notification, Request, Response
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
from .audience import Audience
from .carry import ask_in_turn, carry, not_found
from .inquiry import Origin
from .listen import ListenReply
from .listing import ListPages
from .reply import Immediate, Reply
from .retry import come_back, is_retry
from .routed import RoutedCall
from .subscriptions import MAX_URIS, Subscriber, read_filter
from .table import Route, RoutingTable, Source, build

if TYPE_CHECKING:
    from .multiplexer import Multiplexer

EMPTY: Final = Raw(b"{}")

PATIENCE: Final = 10.0
"""How long a new subscriber waits for backends to let it hear of their resources, in seconds."""

_Handler: TypeAlias = Callable[["View", Origin, Fields, Caller], Awaitable[Reply]]


class View:
    """What one endpoint shows.

    Attributes:
        name: The backend that it shows alone, or None for all of them.
    """

    def __init__(self, multiplexer: Multiplexer, name: str | None) -> None:
        """Show one backend of a multiplexer, or all."""
        self.name = name
        self._multiplexer = multiplexer
        self._audience = Audience(multiplexer.backend)
        self._sources: list[Source] = []
        self._table: RoutingTable | None = None
        self._pages: dict[Catalogue, ListPages] = {}
        self._capabilities: dict[str, Any] | None = None

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
            self._sources = [self._source(backend) for backend in self.backends]
            self._table = build(self._sources)
            self._pages = {
                kind: ListPages(kind, section) for kind, section in self._table.sections.items()
            }
        return self._table

    @property
    def capabilities(self) -> dict[str, Any]:
        """What is declared just now."""
        if self._capabilities is None:
            self._capabilities = description.capabilities(self.backends)
        return self._capabilities

    def discover(self) -> Raw:
        """Answer ``server/discover``."""
        identity, alone = self._multiplexer.identity, self.name is not None
        return description.discover_result(identity, self.backends, self.capabilities, alone=alone)

    def initialize(self, revision: str) -> Raw:
        """Answer ``initialize`` in an agreed revision."""
        return description.initialize_result(
            self._multiplexer.identity,
            self.backends,
            self.capabilities,
            revision,
            alone=self.name is not None,
        )

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool must be repeated in HTTP headers."""
        route = self.table.route(TOOLS, tool)
        return () if route is None else route.mirrored

    def refresh(self) -> None:
        """Take note that lists may have changed, and tell subscribers of those that have."""
        self._capabilities = None
        before = self._table
        if before is None or [self._source(backend) for backend in self.backends] == self._sources:
            return
        self._table = None
        if not self._audience:
            return
        for kind, section in self.table.sections.items():
            if section.definitions != before.sections[kind].definitions:
                self.announce(Notification(kind.changed))

    def announce(self, note: Notification, source: str | None = None) -> None:
        """Tell subscribers of a change, which the backend `source` has announced."""
        self._audience.tell(note, source)

    def forget(self, gone: Iterable[str]) -> None:
        """Take note that backends have been removed."""
        self._audience.forget(gone)

    def end_subscriptions(self) -> None:
        """End all subscriptions, because the gateway stops."""
        self._audience.end()

    def _source(self, backend: Backend) -> Source:
        prefix = backend.config.prefix
        if prefix and self.name is None:
            prefix += self._multiplexer.separator
        shown = prefix if self.name is None else ""
        return Source(backend.name, shown, backend.listings, backend.server is not None)

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
        params = split(request.params)
        origin = Origin(request.id, self.name, params)
        if is_retry(request.method, params, caller):
            multiplexer = self._multiplexer
            parking, admit = multiplexer.parking, multiplexer.admit
            retried = await come_back(parking, admit, origin, request.method, caller)
            if isinstance(retried, RoutedCall):
                return retried
            origin = retried
        return await handler(self, origin, params, caller)

    async def subscribe(
        self, lists: frozenset[str], uris: frozenset[str] = frozenset()
    ) -> Subscriber:
        """Subscribe to changed lists, and to those of some resources that can be subscribed to.

        Its `lists` and `uris` say what was granted; a backend that doesn't answer within
        ``PATIENCE`` grants nothing. The caller closes the subscriber.

        Raises:
            ShuttingDown: The gateway is being stopped.
        """
        self._multiplexer.check_running()
        _ = self.table  # what changes from here on is told
        subscriber = self._audience.join(lists & self._listable())
        try:
            with trio.move_on_after(PATIENCE):
                await self._subscribe_all(subscriber, uris)
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    async def subscribe_resource(self, subscriber: Subscriber, uri: str) -> None:
        """Let a subscriber hear of a resource.

        Raises:
            Overloaded: It hears of too many already.
            RemoteError: No backend knows that, or those that may know it refuse.
            DeadlineExceeded: A backend did not answer.
        """
        if uri in subscriber.uris:
            return
        if len(subscriber.uris) >= MAX_URIS:
            raise Overloaded(f"{MAX_URIS} resources are subscribed to, the limit")
        error = not_found(uri, Era.LEGACY)
        for backend in self._candidates(uri):
            if backend.server is None or not backend.server.has("resources", "subscribe"):
                continue
            timeout = backend.config.timeouts.call
            try:
                with trio.move_on_after(timeout):
                    await self._audience.add(subscriber, uri, backend)
                    continue
                raise DeadlineExceeded(
                    f"backend {backend.name!r} did not answer within {timeout:g} s"
                )
            except ProtocolError as refused:
                error = refused
        if uri not in subscriber.uris:
            raise error

    def unsubscribe_resource(self, subscriber: Subscriber, uri: str) -> None:
        """Let a subscriber hear of a resource no more."""
        self._audience.remove(subscriber, uri)

    async def _subscribe_all(self, subscriber: Subscriber, uris: frozenset[str]) -> None:
        """Subscribe to what can be; no backend waits for another one."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for uri in sorted(uris):
            names = tuple(backend.name for backend in self._candidates(uri))
            groups.setdefault(names, []).append(uri)
        async with trio.open_nursery() as nursery:
            for group in groups.values():
                nursery.start_soon(self._subscribe_group, subscriber, group)

    async def _subscribe_group(self, subscriber: Subscriber, uris: Sequence[str]) -> None:
        for uri in uris:
            try:
                await self.subscribe_resource(subscriber, uri)
            except ProtocolError:
                continue  # the acknowledgement says what was granted

    def _listable(self) -> frozenset[str]:
        return frozenset(
            kind.changed for kind in LISTS.values() if kind.capability in self.capabilities
        )

    # --- handlers ----------------------------------------------------------------------------

    async def _ping(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        del params, caller
        await trio.lowlevel.checkpoint_if_cancelled()
        return Immediate(Response(origin.id, EMPTY))

    async def _discover(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        del params, caller
        await trio.lowlevel.checkpoint_if_cancelled()
        return Immediate(Response(origin.id, self.discover()))

    async def _listen(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        del caller
        lists, uris = read_filter(plain(params.get("notifications")))
        return ListenReply(origin.id, await self.subscribe(lists, uris))

    async def _list(self, kind: Catalogue, origin: Origin, params: Fields, caller: Caller) -> Reply:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_offered(kind.capability, kind.method)
        _ = self.table
        return Immediate(Response(origin.id, self._pages[kind].page(params, caller.era)))

    async def _call_tool(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        return await self._call_named(TOOLS, TOOLS_CALL, origin, params, caller)

    async def _get_prompt(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        return await self._call_named(PROMPTS, PROMPTS_GET, origin, params, caller)

    async def _call_named(
        self, kind: Catalogue, method: str, origin: Origin, params: Fields, caller: Caller
    ) -> Reply:
        name = text(params, "name", "params.name")
        route = self._route(kind, method, name)
        backend = self._multiplexer.backends[route.backend]
        if route.name != name:
            params = {**params, "name": raw(route.name)}
        return await carry(self._multiplexer.admit, origin, backend, Call(method, params, caller))

    async def _read(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        uri = text(params, "uri", "params.uri")
        call = Call(RESOURCES_READ, params, caller)
        candidates = self._candidates(uri)
        if not candidates:
            self._check_offered("resources", RESOURCES_READ)
        if len(candidates) == 1:
            return await carry(self._multiplexer.admit, origin, candidates[0], call)
        unknown = not_found(uri, caller.era)
        return await ask_in_turn(self._multiplexer.admit, origin, candidates, call, unknown)

    async def _complete(self, origin: Origin, params: Fields, caller: Caller) -> Reply:
        reference = split(params.get("ref", EMPTY), "params.ref")
        match value_of(reference, "type", str):
            case "ref/prompt":
                prompt = text(reference, "name", "params.ref.name")
                route = self._route(PROMPTS, COMPLETE, prompt)
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
        return await carry(self._multiplexer.admit, origin, self._multiplexer.backends[name], call)

    # --- routing ---------------------------------------------------------------------------

    def _route(self, kind: Catalogue, method: str, name: str) -> Route:
        route = self.table.route(kind, name)
        if route is None:
            self._check_offered(kind.capability, method)
            self._check_up(kind, name)
            raise InvalidParams(f"Unknown {kind.key.removesuffix('s')}: {name[:200]}")
        return route

    def _check_offered(self, capability: str, method: str) -> None:
        if capability not in self.capabilities:
            raise MethodNotFound(f"Method not found: no backend here offers {method}")

    def _check_up(self, kind: Catalogue, name: str) -> None:
        """Make sure that a name is not just one of a backend that lists nothing at the moment."""
        for backend in self.backends:
            if backend.is_up or backend.listings[kind].items:
                continue
            if name.startswith(self._source(backend).prefix):
                raise BackendUnavailable(
                    f"nothing is known of {name[:200]!r}, because backend {backend.name!r} "
                    f"is not up: {backend.failure or 'starting'}"
                )

    def _candidates(self, uri: str) -> list[Backend]:
        """Return the backends that may know a URI, the likeliest first; who is up goes ahead."""
        owners = self.table.owners(uri)
        if owners:
            found = [self._multiplexer.backends[name] for name in owners]
            return sorted(found, key=lambda backend: not backend.is_up)
        return [
            backend
            for backend in self.backends
            if backend.is_up and backend.server is not None and backend.server.has("resources")
        ]


def _list_handler(kind: Catalogue) -> _Handler:
    async def handle(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
        return await view._list(kind, origin, params, caller)  # noqa: SLF001

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
