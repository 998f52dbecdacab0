"""The multiplexer: all backends, the views on them, and how much may be in flight."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from onemcp.backend import Backend
from onemcp.protocol.errors import Overloaded, ShuttingDown
from onemcp.protocol.jsonrpc import Notification
from onemcp.state import Keyring

from .description import SelfDescription
from .events import ConflictsChanged, MultiplexerEvent
from .parking import Parking
from .routed import Terms
from .subscriptions import unaddressed
from .table import Conflict
from .tasks import TaskIds
from .view import View

SEPARATOR: Final = "__"


class Multiplexer:
    """Many backends as one server; it observes them all.

    Attributes:
        backends: The backends by name, in configuration order.
        identity: What onemcp says about itself.
        separator: What stands between a backend's prefix and a name.
        parking: Where calls wait for their clients.
        tasks: Makes the ids by which clients know tasks.
    """

    def __init__(
        self,
        identity: SelfDescription,
        *,
        separator: str = SEPARATOR,
        in_flight: int = 1024,
        parking: Parking | None = None,
        tasks: TaskIds | None = None,
        on_event: Callable[[MultiplexerEvent], object] = lambda _: None,
    ) -> None:
        """Begin with no backends; `replace` brings them.

        Args:
            identity: What onemcp says about itself.
            separator: What stands between a backend's prefix and a name.
            in_flight: How many calls may be in flight.
            parking: Where calls wait for their clients, under a supervisor that the caller runs;
                by default one that nobody runs, so that no call can be parked.
            tasks: Makes the ids by which clients know tasks; by default ones that don't outlive
                the process.
            on_event: Takes what happens.
        """
        self.backends: Mapping[str, Backend] = {}
        self.identity = identity
        self.separator = separator
        if parking is None:
            parking = Parking(Keyring.ephemeral(), on_event=on_event)
        self.parking = parking
        self.tasks = tasks or TaskIds(Keyring.ephemeral(), on_event=on_event)
        self._limit = in_flight
        self._on_event = on_event
        self._in_flight = 0
        self._questions = itertools.count(1)
        self._views: dict[str | None, View] = {}
        self._conflicts: tuple[Conflict, ...] = ()
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """How many calls are on their way through."""
        return self._in_flight

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The names and URIs that several backends expose."""
        return self._conflicts

    def replace(self, backends: Sequence[Backend]) -> None:
        """Show these backends from now on, in this order.

        What clients have subscribed to at a backend that is replaced by one of the same name is
        subscribed to at the new one.
        """
        before, self.backends = self.backends, {backend.name: backend for backend in backends}
        for backend in backends:
            old = before.get(backend.name)
            if old is not None and old is not backend:
                backend.adopt(old)
        for view in self._views.values():
            view.forget(before.keys() - self.backends.keys())
        self._refresh()

    def reconfigure(self, identity: SelfDescription, *, separator: str, in_flight: int) -> None:
        """Change what onemcp calls itself, how names are put together, and the limit."""
        self.identity, self.separator, self._limit = identity, separator, in_flight
        self._refresh()

    def view(self, name: str | None = None) -> View | None:
        """Return the view of one backend, or of all; None where there is no such backend."""
        if name is not None and name not in self.backends:
            return None
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = View(self, name)
        return view

    def backend(self, name: str) -> Backend | None:
        """Return the backend that has a name just now."""
        return self.backends.get(name)

    def admit(self, backend: Backend) -> Terms:
        """Let one more call in.

        Raises:
            Overloaded: The limit of calls in flight is reached.
            ShuttingDown: The gateway is being stopped.
        """
        self.check_running()
        if self._in_flight >= self._limit:
            raise Overloaded(f"{self._in_flight} calls are in flight, the limit; try again later")
        self._in_flight += 1
        deadline = trio.current_time() + backend.config.timeouts.call
        return Terms(deadline, self._next_question, self._release, self.parking, self.tasks)

    def check_running(self) -> None:
        """Make sure that new work can be taken.

        Raises:
            ShuttingDown: The gateway is being stopped.
        """
        if self._stopping:
            raise ShuttingDown("onemcp is being stopped")

    def stop(self) -> None:
        """Take no new calls, and end all subscriptions."""
        self._stopping = True
        for view in self._views.values():
            view.end_subscriptions()

    def resume(self) -> None:
        """Take calls again: what had been stopped is started anew."""
        self._stopping = False

    def changed(self, backend: Backend) -> None:
        """Take note that a backend's lists, capabilities or state have changed."""
        if self.backends.get(backend.name) is backend:
            self._refresh()

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Tell subscribers what a backend has announced."""
        if self.backends.get(backend.name) is not backend:
            return
        note = unaddressed(notification)
        for view in self._views.values():
            view.announced(note, backend)

    def _release(self) -> None:
        self._in_flight -= 1

    def _next_question(self) -> str:
        return f"onemcp-{next(self._questions)}"

    def _refresh(self) -> None:
        for name in [name for name in self._views if name is not None]:
            if name not in self.backends:
                self._views.pop(name).end_subscriptions()
        for view in self._views.values():
            view.refresh()
        whole = self.view()
        assert whole is not None  # noqa: S101 - the view of everything always exists
        conflicts = whole.contents.table.conflicts
        if conflicts != self._conflicts:
            self._conflicts = conflicts
            self._on_event(ConflictsChanged(self._conflicts))
