"""One instance of a backend: a live connection, what is in flight on it, and who uses it.

Theory of operation: an instance is *leased* while one call has it to itself, and *open* to all
calls otherwise. A call leases it from the beginning, or from its first question on. An instance
that goes from one client to another is handed over: what the former's calls have left on the
channel is waited out with a ping, and belongs to nobody; and a backend that has ever asked for
roots is told that they have changed (2025-11-25, Roots).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Protocol

import trio

from onemcp import config
from onemcp.protocol.errors import BackendUnavailable, Overloaded
from onemcp.protocol.methods import PING, ROOTS, ROOTS_CHANGED
from onemcp.protocol.revisions import Era
from onemcp.telemetry import Attributes

from .attribution import INTERNAL
from .breaker import Breaker
from .call import Call, Caller
from .connection import Connection, ServerDescription
from .exchange import Exchange
from .handshake import answer_of
from .level import LogLevel
from .tracing import attributes_of

FENCE: Final = 2.0
"""How long a backend may take to show that it has said all there was to say, in seconds."""


class InstanceObserver(Protocol):
    """What the pool wants to hear of its instances. Called synchronously; must not block."""

    def freed(self, instance: Instance) -> None:
        """Take note that a call on an instance is over, or one that had been cancelled."""

    def asked(
        self, instance: Instance, exchange: Exchange | None, suspects: Sequence[Exchange]
    ) -> None:
        """Take note of a question on the shared channel.

        Args:
            instance: Where it was asked.
            exchange: The call that it belongs to, or None where that is ambiguous.
            suspects: The calls that it may belong to.
        """

    def unheard(self, method: str, suspects: Sequence[Exchange]) -> None:
        """Take note of a question that no single call can be told to belong to."""

    def unasked(self, call: Call) -> None:
        """Take note that a call is over that has leased an instance, and asked nothing."""


class Instance:
    """One instance of a backend.

    Attributes:
        name: What it is called: that of its backend, for errors that clients see.
        connection: Its connection.
        server: What the backend said about itself.
        is_primary: Whether it is the one that carries lists and subscriptions.
        lease: What has it to itself: a call in flight, or one that is about to be; or None.
        last_owner: The client that has used it last, or None.
        idle_since: When the last call on it was over, by Trio's clock.
        is_retired: Whether it is about to end, and takes no calls.
    """

    def __init__(
        self,
        settings: config.Backend,
        connection: Connection,
        server: ServerDescription,
        caller: Caller,
        observer: InstanceObserver,
        *,
        breaker: Breaker,
        is_primary: bool,
    ) -> None:
        """Take calls on a connection that is up.

        Args:
            settings: How the backend is configured.
            connection: The connection.
            server: What the backend said about itself.
            caller: Onemcp as a client.
            observer: Whom to tell what happens.
            breaker: Told what becomes of calls, and lets them through or not.
            is_primary: Whether it is the one that carries lists and subscriptions.
        """
        self.name = settings.name
        self.connection = connection
        self.server = server
        self.is_primary = is_primary
        self.lease: Exchange | Call | None = None
        self.last_owner: Hashable | None = None
        self._now = trio.lowlevel.current_clock().current_time
        self.idle_since = self._now()
        self.is_retired = False
        self._transport = settings.transport
        self._caller = caller
        self._observer = observer
        self._breaker = breaker
        self._level = LogLevel(caller, server)
        self._calls: set[Exchange] = set()
        self._has_asked = False
        self._asks_for_roots = False
        connection.inbound.watcher = self

    @property
    def in_flight(self) -> int:
        """How many calls of clients wait for an answer."""
        return len(self._calls)

    @property
    def calls(self) -> Iterator[Exchange]:
        """The calls of clients that wait for an answer."""
        return iter(self._calls)

    @property
    def is_live(self) -> bool:
        """Whether calls can be made: it is not lost already, and about to say why."""
        return self.connection.server is not None and not self.is_retired

    @property
    def is_open(self) -> bool:
        """Whether any call may be made."""
        return self.lease is None and self.is_live

    @property
    def is_used(self) -> bool:
        """Whether a call is in flight, or about to be."""
        return bool(self._calls) or self.lease is not None

    def is_idle_for(self, owner: Hashable) -> bool:
        """Tell whether a client can have it to itself: nothing of another one is going on."""
        if self._calls or not self.is_open:
            return False
        lingering = (each.call.caller.owner for each in self.connection.inbound.lingering())
        return all(each in {owner, INTERNAL} for each in lingering)

    def serves(self, owner: Hashable) -> bool:
        """Tell whether a client's calls are in flight, or were the last ones."""
        return self.last_owner == owner or any(
            exchange.call.caller.owner == owner for exchange in self._calls
        )

    def carries(self, exchange: Exchange) -> bool:
        """Tell whether a call is in flight here."""
        return exchange in self._calls

    # --- calls -------------------------------------------------------------------------------

    def needs_level(self, caller: Caller) -> bool:
        """Tell whether a client wants log messages that the backend doesn't send yet."""
        return self._level.is_too_high(self.connection, caller)

    async def lower_level(self, caller: Caller) -> None:
        """Have the log messages sent that a client wants."""
        await self._level.lower(self.connection, caller)

    async def hand_over(self, owner: Hashable) -> None:
        """Let everything pass that the calls of another client have left on the channel."""
        if self.last_owner is None or self.last_owner == owner:
            return
        exchange = self.connection.open(Call(PING, {}, self._caller))
        try:
            with trio.move_on_after(FENCE):
                await answer_of(exchange)
        finally:
            exchange.close()

    def open(self, call: Call) -> Exchange:
        """Send a call.

        Raises:
            BackendUnavailable: The connection has just been lost.
            CircuitOpen: No calls are made here for now.
            Overloaded: Too much is queued.
            InvalidParams: ``_meta`` is malformed.
        """
        owner = call.caller.owner
        if not self._breaker.is_closed:
            self._breaker.check()
        sent = call if call.span is None else call.sent(self._about())
        if self._asks_for_roots and owner != self.last_owner:
            self.tell_roots_changed()
        try:
            exchange = self.connection.open(sent)
        except (BackendUnavailable, Overloaded) as error:
            if sent.span is not None:
                sent.span.fail(type(error))
            raise error.about(self.name) from error
        exchange.backend = self.name
        exchange.since = self._now()
        self._breaker.began(exchange)
        self.last_owner = owner
        if not exchange.finished:
            self._calls.add(exchange)
            exchange.on_end = self._on_end
        else:
            self._breaker.ended(exchange)
        if self.lease is call:
            self.lease, self._has_asked = exchange, False
            self._release_if_over(exchange)
        return exchange

    async def open_leased(self, call: Call) -> Exchange:
        """Send the call that has this instance to itself.

        Raises:
            ProtocolError: As for `open`; the instance is given back.
        """
        try:
            await self.hand_over(call.caller.owner)
            if self.needs_level(call.caller):
                await self.lower_level(call.caller)
            return self.open(call)
        finally:
            self.release(call)  # where it was not made

    def release(self, call: Call) -> None:
        """Give back what was leased for a call that will not be made."""
        if self.lease is call:
            self.lease = None
            self._observer.freed(self)

    def tell_roots_changed(self) -> None:
        """Tell a legacy backend that what it knows of roots is out of date."""
        if self.server.era is Era.LEGACY:
            self.connection.notify(ROOTS_CHANGED, {})

    def __repr__(self) -> str:
        state = "leased" if self.lease is not None else "open" if self.is_open else "lost"
        kind = "primary " if self.is_primary else ""
        return f"<Instance of {self.name!r} {kind}{state} in_flight={self.in_flight}>"

    # --- what the connection tells -----------------------------------------------------------

    def on_question(
        self, method: str, exchange: Exchange | None, suspects: Sequence[Exchange]
    ) -> None:
        """Take note of a question; there are suspects only where its stream doesn't tell."""
        if method == ROOTS:
            self._asks_for_roots = True
        if suspects:
            self._observer.asked(self, exchange, suspects)
        if exchange is None:
            self._observer.unheard(method, suspects)
        if exchange is not None and exchange is self.lease:
            self._has_asked = True

    def on_settled(self) -> None:
        """Take note that a cancelled call has been answered."""
        self._observer.freed(self)

    def _about(self) -> Attributes:
        return {
            "onemcp.backend": self.name,
            "mcp.protocol.version": self.server.revision,
            **attributes_of(self._transport),
        }

    def _on_end(self, exchange: Exchange) -> None:
        self._calls.discard(exchange)
        self._breaker.ended(exchange)
        if not self._calls:
            self.idle_since = self._now()
        if self.lease is exchange:
            self._release_if_over(exchange)
        self._observer.freed(self)

    def _release_if_over(self, exchange: Exchange) -> None:
        """Take note that the call which leases this is over, if it is."""
        if exchange.finished:
            self.lease = None
            if not self._has_asked:
                self._observer.unasked(exchange.call)
