"""One endpoint: who calls there, and who listens there.

Theory of operation: `dispatch` is the second of the five stations of a call (frontend, auth check,
multiplexer, backend, transport). What is visible is in :mod:`.contents`, a routing table that is
rebuilt only when some backend's lists have changed; what each method does with it is in
:mod:`.handlers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Raw

from onemcp.backend import Backend, Caller, replica_of
from onemcp.protocol.errors import (
    DeadlineExceeded,
    InvalidParams,
    LoginWanted,
    Overloaded,
    ProtocolError,
)
from onemcp.protocol.fields import Fields, split, value_of
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Notification, Request
from onemcp.protocol.methods import (
    CATALOGUES,
    LISTS,
    QUESTIONS,
    RESOURCE_UPDATED,
    ROOTS,
    TOOLS,
)
from onemcp.protocol.revisions import Era
from onemcp.telemetry import Span, Tracer

from . import logins
from .audience import Audience
from .carry import not_found
from .contents import Contents
from .handlers import handler_of
from .inquiry import Origin
from .paging import paged
from .reply import Reply
from .retry import come_back, is_retry
from .routed import RoutedCall
from .selection import EVERYTHING, Extent, Selection
from .subscriptions import MAX_URIS, NO_TASKS, Subscriber, TaskFilter, uri_of
from .table import RoutingTable
from .watching import Watch, Watcher

if TYPE_CHECKING:
    from .multiplexer import Multiplexer

PATIENCE: Final = 10.0
"""How long a new subscriber waits for backends to let it hear of their resources, in seconds."""


class View:
    """One endpoint of a multiplexer, as those with certain rights see it.

    Attributes:
        name: The endpoint: a backend, a named view, or None for everything.
        multiplexer: What it is a view of.
        selection: What its callers may see at all.
        user: Who alone sees it; "" where everybody with the same rights does.
        is_whole: Whether its callers may see everything.
        contents: What it shows.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        name: str | None,
        selection: Selection = EVERYTHING,
        whole: View | None = None,
        user: str = "",
    ) -> None:
        """Show an endpoint of a multiplexer.

        Args:
            multiplexer: The multiplexer.
            name: The endpoint.
            selection: What its callers may see.
            whole: The view of those who may see everything, where these may not.
            user: Who alone sees it; "" where everybody with the same rights does.
        """
        self.name = name
        self.multiplexer = multiplexer
        self.selection = selection
        self.user = user
        self.is_whole = selection == EVERYTHING
        of_all = None if whole is None else whole.contents
        self.contents: Contents = Contents(multiplexer, name, selection, of_all, user)
        self._audience = Audience(self.contents.backend, self.contents, self.contents.follower)

    def initialize(self, revision: str) -> Raw:
        """Answer ``initialize`` in an agreed revision."""
        return self.contents.initialize(revision)

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool must be repeated in HTTP headers.

        Raises:
            InvalidParams: They can't be, and the tool is not listed to those who have to.
        """
        return self.contents.mirrored(tool)

    async def dispatch(self, request: Request, caller: Caller) -> Reply:
        """Serve one request of a client.

        Raises:
            ProtocolError: What is wrong with the request, or with the backend it leads to.
        """
        self.multiplexer.meter.requested(request.method)
        watcher = self.multiplexer.watcher
        try:
            params = split(request.params)
            if watcher is None:
                return await self._serve(request, params, caller)
            with watcher.watch(self, request, params, caller) as watch:
                return watch.over(await self._serve(request, watch.params, caller, watch.span))
        except ProtocolError as error:
            self.multiplexer.meter.refused(type(error))
            raise

    @contextlib.contextmanager
    def attend(self, request: Request, caller: Caller) -> Iterator[Watch]:
        """Count and watch a request that is served elsewhere: it is about a session alone.

        Whoever serves it, within the block, tells the watch what the client gets.

        Raises:
            InvalidParams: The request's parameters, or their ``_meta``, are malformed.
        """
        self.multiplexer.meter.requested(request.method)
        watcher = self.multiplexer.watcher or Watcher(Tracer())
        try:
            with watcher.watch(self, request, split(request.params), caller) as watch:
                yield watch
        except ProtocolError as error:
            self.multiplexer.meter.refused(type(error))
            raise

    async def _serve(
        self, request: Request, params: Fields, caller: Caller, span: Span | None = None
    ) -> Reply:
        handler = handler_of(request.method, caller.era)
        if self.user:
            params = await logins.heed(self, request.method, params, caller)
        origin = Origin(request.id, self.name, request.method, params, span=span)
        if is_retry(request.method, params, caller):
            self.contents.check_reachable(request.method, params, caller.era)
            parking, admit = self.multiplexer.parking, self.multiplexer.admit
            retried = await come_back(parking, admit, origin, request.method, caller)
            if isinstance(retried, RoutedCall):
                return self._resumed(retried, origin, caller)
            origin = retried
        try:
            return await handler(self, origin, origin.params, caller)
        except LoginWanted as wanted:
            return logins.put(wanted, origin, caller)

    def _resumed(self, call: RoutedCall, origin: Origin, caller: Caller) -> Reply:
        route = self.contents.table.route(TOOLS, value_of(origin.params, "name", str) or "")
        tool = "" if route is None else route.name
        return paged(self, call, call.backend, tool, method=origin.method, caller=caller)

    def roots_changed(self, caller: Caller) -> None:
        """Tell the backends that serve a legacy client that its roots have changed (Roots)."""
        if caller.can(QUESTIONS[ROOTS]):
            for backend in self.contents.backends:
                backend.roots_changed(caller.owner)

    def task_status(self, note: Notification, caller: Caller) -> None:
        """Tell the backend that has asked a legacy client for a task what has become of it."""
        with contextlib.suppress(InvalidParams):
            params = split(note.params)
            for backend in self.contents.backends:
                backend.task_status(caller.owner, params)

    # --- who listens -------------------------------------------------------------------------

    async def subscribe(
        self,
        lists: frozenset[str],
        uris: frozenset[str] = frozenset(),
        tasks: TaskFilter = NO_TASKS,
        caller: Caller | None = None,
    ) -> Subscriber:
        """Subscribe to changed lists, and to those of some resources that can be subscribed to.

        And to the tasks that are named; a session hears of its own ones without naming them.

        Its `lists` and `uris` say what was granted; a backend that doesn't answer within
        ``PATIENCE`` grants nothing. Whoever subscribes closes the subscriber.

        Args:
            lists: The notifications of changed lists that are wanted.
            uris: The resources to hear of.
            tasks: The tasks to hear of.
            caller: Whose subscription it is, for :meth:`.Multiplexer.regrant`.

        Raises:
            ShuttingDown: The gateway is being stopped.
        """
        self.multiplexer.check_running()
        _ = self.contents.table  # what changes from here on is told
        listable = lists & self._listable()
        subscriber = Subscriber(listable, tasks=tasks, caller=caller)
        subscriber.view = self
        self._audience.join(subscriber)
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
        for backend in self.contents.candidates(uri):
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
            names = tuple(backend.name for backend in self.contents.candidates(uri))
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
        declared = self.contents.capabilities
        return frozenset(kind.changed for kind in LISTS.values() if kind.capability in declared)

    # --- what its multiplexer tells it -------------------------------------------------------

    def adopt(self, subscriber: Subscriber) -> None:
        """Take over a subscriber of this endpoint whose rights have changed, and tell it of that.

        What it had subscribed to and is not shown here it hears of no more.
        """
        other = subscriber.view
        if other is None or other is self:
            return
        before = other.contents.table
        other._audience.hand_over(subscriber, self._audience)  # noqa: SLF001 - of the same kind
        subscriber.view = self
        self._audience.retain()
        for note in self._changes(before):
            subscriber.offer(note)

    def refresh(self) -> None:
        """Take note that lists may have changed, and tell subscribers of those that have."""
        before = self.contents.refresh()
        if before is None or not self._audience:
            return
        self._audience.retain()
        for note in self._changes(before):
            self._audience.tell(note)

    def _changes(self, before: RoutingTable) -> list[Notification]:
        return [
            Notification(kind.changed)
            for kind, section in self.contents.table.sections.items()
            if section.definitions != before.sections[kind].definitions
        ]

    def announced(self, note: Notification, backend: Backend) -> None:
        """Tell subscribers what a backend has announced, if all that it is about is shown.

        A list of which only a part is shown is told of when that part has changed.
        """
        if note.method == RESOURCE_UPDATED:
            uri = uri_of(note)
            is_shown = uri is not None and self.contents.reads(uri, backend)
        else:
            kinds = [kind for kind in CATALOGUES if kind.changed == note.method]
            is_shown = all(self.contents.extent(backend, kind) is Extent.ALL for kind in kinds)
        if is_shown:
            self._audience.tell(note, backend.name, replica_of(backend))

    @property
    def subscribers(self) -> Sequence[Subscriber]:
        """Those who have subscribed here just now."""
        return list(self._audience)

    def forget(self, gone: Iterable[str]) -> None:
        """Take note that backends have been removed."""
        self._audience.forget(gone)

    def end_subscriptions(self) -> None:
        """End all subscriptions, because the gateway stops or the endpoint is gone."""
        self._audience.end()
