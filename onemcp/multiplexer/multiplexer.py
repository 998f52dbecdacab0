"""The multiplexer: all backends, the views on them, and how much may be in flight."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

import trio

from onemcp.admission import Admission, BackendLimits, Limits
from onemcp.auth import Scope
from onemcp.backend import Backend, Caller, Roster, replica_of, user_of
from onemcp.protocol.errors import Overloaded, ShuttingDown
from onemcp.protocol.jsonrpc import Notification
from onemcp.state import Keyring

from .description import SelfDescription
from .endpoint import WHOLE, Arrangement, Endpoint
from .events import ConflictsChanged, MultiplexerEvent
from .metering import Meter, NoMeter
from .paging import Pages
from .parking import Parking
from .scopes import ALL, selection_of
from .selection import EVERYTHING, NOTHING, Selection
from .subscriptions import unaddressed
from .table import Conflict
from .tasks import TaskIds
from .terms import Terms
from .unmatched import PatternWatch, UnmatchedPattern
from .view import View
from .watching import Watcher

SEPARATOR: Final = "__"

KEPT_VIEWS: Final = 256
"""How many views of callers with fewer rights, or of one user, are kept while nobody uses them."""


_Key: TypeAlias = tuple[str | None, Selection, str]
"""An endpoint, what is seen of it, and by whom."""


class Multiplexer:
    """Many backends as one server; it observes them all.

    Attributes:
        backends: The backends by name, in configuration order; what each user has for themselves
            is a stand-in here.
        rosters: The users of backends that each has for themselves, by the backends' names.
        arrangement: What named views show, and what is seen of the backends at all.
        identity: What onemcp says about itself.
        separator: What stands between a backend's prefix and a name.
        admission: Gives calls their places.
        parking: Where calls wait for their clients.
        tasks: Makes the ids by which clients know tasks.
        pages: What is left of long results of tools.
        meter: Counts requests.
        watcher: Watches what is asked and answered; None while nobody wants to know.
    """

    def __init__(
        self,
        identity: SelfDescription,
        *,
        separator: str = SEPARATOR,
        admission: Admission | None = None,
        parking: Parking | None = None,
        tasks: TaskIds | None = None,
        meter: Meter | None = None,
        on_event: Callable[[MultiplexerEvent], object] = lambda _: None,
    ) -> None:
        """Begin with no backends; `replace` brings them.

        Args:
            identity: What onemcp says about itself.
            separator: What stands between a backend's prefix and a name.
            admission: Gives calls their places; by default one with the default limits.
            parking: Where calls wait for their clients, under a supervisor that the caller runs;
                by default one that nobody runs, so that no call can be parked.
            tasks: Makes the ids by which clients know tasks; by default ones that don't outlive
                the process.
            meter: Counts requests; by default nobody does.
            on_event: Takes what happens.
        """
        self.backends: Mapping[str, Backend] = {}
        self.rosters: Mapping[str, Roster] = {}
        self.arrangement = Arrangement()
        self.identity = identity
        self.separator = separator
        if parking is None:
            parking = Parking(Keyring.ephemeral(), on_event=on_event)
        self.parking = parking
        self.tasks = tasks or TaskIds(Keyring.ephemeral(), on_event=on_event)
        self.pages = Pages()
        self.meter = meter or NoMeter()
        self.watcher: Watcher | None = None
        self.admission = admission or Admission()
        self._on_event = on_event
        self._questions = itertools.count(1)
        self._views: dict[str | None, View] = {}
        # Whoever holds a view goes on being told of what changes, also of an endpoint that is gone.
        self._in_use: WeakValueDictionary[_Key, View] = WeakValueDictionary()
        self._recent: OrderedDict[_Key, View] = OrderedDict()
        self._granted: dict[frozenset[Scope], Selection] = {}
        self._conflicts: tuple[Conflict, ...] = ()
        self._patterns = PatternWatch(on_event)
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """How many calls are on their way through."""
        return self.admission.in_flight

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The names and URIs that several backends expose."""
        return self._conflicts

    @property
    def unmatched(self) -> tuple[UnmatchedPattern, ...]:
        """The patterns of the configuration that match nothing that there is."""
        return self._patterns.unmatched

    def replace(self, backends: Sequence[Backend], rosters: Sequence[Roster] = ()) -> None:
        """Show these backends from now on, in this order.

        Where each user has one for themselves it is the stand-in of a roster.

        What clients have subscribed to at a backend that is replaced by one of the same name is
        subscribed to at the new one.
        """
        before, self.backends = self.backends, {backend.name: backend for backend in backends}
        old_rosters, self.rosters = self.rosters, {roster.name: roster for roster in rosters}
        for roster in rosters:
            old_roster = old_rosters.get(roster.name)
            if old_roster is not None and old_roster is not roster:
                roster.adopt(old_roster)
        for backend in backends:
            old = before.get(backend.name)
            if old is not None and old is not backend:
                backend.adopt(old)
        for view in self._all_views():
            view.forget(before.keys() - self.backends.keys())
        self.admission.show({backend.name: _limits_of(backend) for backend in backends})
        self._refresh()

    def reconfigure(self, identity: SelfDescription, *, separator: str, limits: Limits) -> None:
        """Change what onemcp calls itself, how names are put together, and the limits."""
        self.identity, self.separator = identity, separator
        self.admission.reconfigure(limits)
        self._refresh()

    def arrange(self, arrangement: Arrangement) -> None:
        """Change what named views show, and what is seen of the backends at all.

        Subscribers of a view that has changed are told which lists have; those of one that there
        is no more are told that it has ended.
        """
        self.arrangement = arrangement
        self._granted.clear()
        self._refresh()

    def granted(self, scopes: frozenset[Scope]) -> Selection:
        """Return what may be seen with some scopes of a token; see :mod:`.scopes`."""
        selection = self._granted.get(scopes)
        if selection is None:
            if len(self._granted) >= KEPT_VIEWS:
                self._granted.clear()
            selection = EVERYTHING if ALL in scopes else selection_of(scopes, self.arrangement)
            self._granted[scopes] = selection
        return selection

    def endpoint(self, name: str | None) -> Endpoint | None:
        """Return what an endpoint is to show; None where there is no such endpoint."""
        if name is None:
            return WHOLE
        if name in self.arrangement.views:
            return self.arrangement.views[name]
        return Endpoint.alone(name) if name in self.backends else None

    @property
    def endpoints(self) -> Sequence[str]:
        """The names of all endpoints."""
        return tuple(dict.fromkeys((*self.backends, *self.arrangement.views)))

    def view(
        self, name: str | None = None, selection: Selection = EVERYTHING, user: str = ""
    ) -> View | None:
        """Return the view of an endpoint for those who may see a selection.

        Args:
            name: A backend or a named view; None for everything.
            selection: What they may see.
            user: Who it is, which matters where each user has a backend for themselves.

        Returns:
            The view; None where there is no such endpoint, or nothing of it may be seen.
        """
        user = user if self.rosters else ""
        is_whole = selection == EVERYTHING and not user
        view = self._views.get(name) if is_whole else None
        if view is not None:
            return view
        if self.endpoint(name) is None:
            return None
        key = name, selection, user
        view = self._in_use.get(key) or self._new_view(*key)
        if is_whole:
            self._views[name] = view
            return view
        self._recent[key] = view
        self._recent.move_to_end(key)
        if len(self._recent) > KEPT_VIEWS:
            self._recent.popitem(last=False)
        return view if name is None or view.contents.backends else None

    def whole(self) -> View:
        """Return the view of everything."""
        view = self.view(None)
        assert view is not None  # noqa: S101  (for mypy: there always is)
        return view

    def _new_view(self, name: str | None, selection: Selection, user: str) -> View:
        whole = None if selection == EVERYTHING else self.view(name, user=user)
        view = self._in_use[name, selection, user] = View(self, name, selection, whole, user)
        return view

    def regrant(self, granted: Callable[[Caller], Selection | None]) -> None:
        """Let live subscribers see at once what their callers may see from now on.

        Each goes on with what both the old and the new selection show, and hears which lists are
        another's now; where nothing of its endpoint may be seen any more it is ended. Calls of
        those who may see nothing at all don't go on waiting for them.

        Args:
            granted: Tells what a caller may see; None for what it has seen until now.
        """
        for view in self._all_views():
            for subscriber in view.subscribers:
                selection = None if subscriber.caller is None else granted(subscriber.caller)
                if selection is None:
                    continue
                user = "" if subscriber.caller is None else subscriber.caller.principal
                seen = None if selection == NOTHING else self.view(view.name, selection, user)
                if seen is None:
                    subscriber.end()
                else:
                    seen.adopt(subscriber)
        self.parking.end(lambda caller: granted(caller) == NOTHING)

    def backend(self, name: str, user: str = "") -> Backend | None:
        """Return the backend that has a name just now, for a user."""
        roster = self.rosters.get(name) if user else None
        return self.backends.get(name) if roster is None else roster.backend_of(user)

    def backends_of(self, user: str) -> Iterable[Backend]:
        """Return what a user has, in configuration order."""
        if not user or not self.rosters:
            return self.backends.values()
        return [backend for name in self.backends if (backend := self.backend(name, user))]

    async def admit(
        self, backend: Backend, method: str, caller: Caller, latest: float = math.inf
    ) -> Terms:
        """Let one more call in, waiting for a place where there is none.

        Args:
            backend: Where it goes.
            method: What is called.
            caller: Whose it is.
            latest: When it must be over, by Trio's clock, if the backend's timeout isn't earlier.

        Raises:
            Overloaded: Too many are under way and wait, or there was no place in time.
            ShuttingDown: The gateway is being stopped.
        """
        self.check_running()
        now = trio.current_time()
        deadline = min(now + backend.config.timeouts.call, latest)
        name, principal = backend.name, caller.principal
        release = partial(self._release, name, principal, method, now)
        if not self.admission.enter_nowait(name, principal):
            await self._wait_for_place(name, method, principal, deadline)
        return Terms(deadline, self.next_question, release, self.parking, self.tasks)

    async def _wait_for_place(
        self, backend: str, method: str, principal: str, deadline: float
    ) -> None:
        since = trio.current_time()
        try:
            await _enter(self.admission, backend, principal, deadline)
        except BaseException as error:
            self.meter.carried(backend, method, trio.current_time() - since, type(error))
            raise

    def check_running(self) -> None:
        """Make sure that new work can be taken.

        Raises:
            ShuttingDown: The gateway is being stopped.
        """
        if self._stopping:
            raise _stopping()

    def stop(self) -> None:
        """Take no new calls, nor those that wait for a place, and end all subscriptions."""
        self._stopping = True
        self.admission.turn_away(_stopping())
        self.end_subscriptions()

    def end_subscriptions(self) -> None:
        """End the subscriptions that there are; whoever wants to can subscribe anew."""
        for view in self._all_views():
            view.end_subscriptions()

    def abandon(self, reason: str) -> None:
        """Fail the calls in flight, because there is no time left to wait for them."""
        for backend in self.backends.values():
            backend.abandon(reason)
        for roster in self.rosters.values():
            roster.close(reason)

    def drop_users(self, is_out: Callable[[str, float], bool]) -> None:
        """End what users have for themselves who are let in no more; see `Roster.drop`."""
        for roster in self.rosters.values():
            roster.drop(is_out)

    def resume(self) -> None:
        """Take calls again: what had been stopped is started anew."""
        self._stopping = False

    def changed(self, backend: Backend) -> None:
        """Take note that a backend's lists, capabilities or state have changed."""
        if self.backends.get(backend.name) is backend:
            self._refresh()
        else:
            for view in self._views_of(backend):
                view.refresh()

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Tell subscribers what a backend has announced."""
        common = self.backends.get(backend.name)
        is_common = common is not None and common.replica(replica_of(backend)) is backend
        note = unaddressed(notification)
        for view in self._all_views() if is_common else self._views_of(backend):
            view.announced(note, backend)

    def _views_of(self, backend: Backend) -> list[View]:
        """Return the views of the one user who has a backend; none if nobody has it."""
        roster = self.rosters.get(backend.name)
        if roster is None or not roster.has(backend):
            return []
        return [view for view in self._all_views() if view.user == user_of(backend)]

    def _release(
        self,
        backend: str,
        principal: str,
        method: str,
        since: float,
        failure: type[BaseException] | None = None,
    ) -> None:
        self.admission.leave(backend, principal)
        self.meter.carried(backend, method, trio.current_time() - since, failure)

    def next_question(self) -> str:
        """Return an id for a question to a client, unique among all that are open."""
        return f"onemcp-{next(self._questions)}"

    def _all_views(self) -> list[View]:
        """Return every view in use, those that others are parts of first."""
        return sorted(self._in_use.values(), key=lambda view: view.selection != EVERYTHING)

    def _refresh(self) -> None:
        for view in self._all_views():
            if self.endpoint(view.name) is None:
                self._views.pop(view.name, None)
                view.end_subscriptions()
            view.refresh()
        conflicts = tuple(self._find_conflicts())
        if conflicts != self._conflicts:
            self._conflicts = conflicts
            self._on_event(ConflictsChanged(self._conflicts))
        self._patterns.look(self.arrangement.patterns, self.backends)

    def _find_conflicts(self) -> Iterator[Conflict]:
        views = self.arrangement.views
        # Where names have their prefixes, a conflict is one of the view of everything.
        for name in (None, *(name for name in views if views[name].is_bare)):
            view = self.view(name)
            if view is not None:
                yield from view.contents.table.conflicts


async def _enter(admission: Admission, backend: str, principal: str, deadline: float) -> None:
    with trio.move_on_at(deadline):
        await admission.enter(backend, principal)
        return
    raise Overloaded(f"no place for a call of backend {backend!r} came free in time")


def _limits_of(backend: Backend) -> BackendLimits:
    limits = backend.config.limits
    return BackendLimits(limits.in_flight, limits.queued)


def _stopping() -> ShuttingDown:
    return ShuttingDown("onemcp is being stopped")
