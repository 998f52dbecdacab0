"""Keeping what a backend lists current, for as long as a connection to it lasts.

Theory of operation: a task for each list waits until the backend announces a change, or for so
long that a list which is not announced wants another look, and fetches the list again. What was
known stays when that fails, and while the backend is away.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from onemcp import config
from onemcp.pinning import PINNED, Pins
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.methods import CATALOGUES, TOOLS, Catalogue
from onemcp.protocol.revisions import Era

from . import catalogue as catalogues
from .call import Caller
from .catalogue import Listing, Listings
from .connection import Connection, ServerDescription
from .events import BackendEvent, Fault, ItemRejected, ListFailed, ToolWithheld

REFRESH: Final = 300.0
"""How often lists are fetched from backends that don't announce changes, in seconds."""

MAX_REFRESH: Final = 3600.0
"""How long that may grow when fetching fails again and again, in seconds."""

JITTER: Final = 0.1
"""By how much, at most, it is longer by chance, so that backends aren't asked all at once."""

SETTLE: Final = 0.25
"""How long changes gather before a list is fetched again, when it has just been, in seconds."""


@attrs.define(eq=False)
class _Turn:
    """The next time that a list is fetched.

    Attributes:
        due: Set when there is a reason for it.
        announced: Whether the reason is that the backend announced a change.
        over: Set when it has been fetched, or is not going to be.
    """

    due: trio.Event = attrs.field(factory=trio.Event)
    announced: bool = False
    over: trio.Event = attrs.field(factory=trio.Event)


class Keeper:
    """What one backend lists.

    Attributes:
        listings: What it listed last.
    """

    def __init__(
        self,
        settings: config.Backend,
        caller: Caller,
        *,
        hears_of: Callable[[Catalogue], bool],
        on_fetched: Callable[[Catalogue, bool], object],
        on_event: Callable[[BackendEvent], object],
        pins: Pins | None = None,
    ) -> None:
        """Know of nothing yet.

        Args:
            settings: How the backend is configured.
            caller: Who asks for the lists.
            hears_of: Tells whether a modern backend has agreed to announce changes of a list.
            on_fetched: Told when a list has been fetched again, and whether it has changed or
                was announced to have.
            on_event: Takes what goes wrong.
            pins: What was approved of it; by default all that it lists is taken as it is.
        """
        self.listings: Listings = catalogues.NOTHING
        self._settings = settings
        self._caller = caller
        self._hears_of = hears_of
        self._on_fetched = on_fetched
        self._on_event = on_event
        self._turns = {catalogue: _Turn() for catalogue in CATALOGUES}
        self._failures: Counter[Catalogue] = Counter()
        self._told: dict[Catalogue, set[Fault]] = {}
        self._review = None
        if pins is not None and settings.pin != "off":
            withholds = settings.pin == "enforce"
            self._review = pins.review(withholds=withholds, on_approved=self._relist)

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool are repeated in HTTP headers."""
        for item in self.listings[TOOLS].items:
            if item.identity == tool:
                return item.mirrored
        return ()

    def why_withheld(self, catalogue: Catalogue, name: str) -> str | None:
        """Tell why something that is listed is kept from clients; None for what isn't."""
        return None if self._review is None else self._review.reason(catalogue.key, name)

    def forget(self) -> None:
        """List nothing any more."""
        self.listings = catalogues.NOTHING
        self.end()

    def end(self) -> None:
        """Take note that what is listed is looked at no more."""
        if self._review is not None:
            self._review.forget()

    def begin(self) -> None:
        """Take note of a new connection, on which nothing has been announced or has failed."""
        for turn in self._turns.values():
            turn.over.set()
        self._turns = {catalogue: _Turn() for catalogue in CATALOGUES}
        self._failures.clear()

    def announced(self, method: str) -> None:
        """Take note of a notification, which may say that a list has changed."""
        for catalogue in CATALOGUES:
            if catalogue.changed == method:
                turn = self._turns[catalogue]
                turn.announced = True
                turn.due.set()

    def _relist(self) -> None:
        """Have what is pinned listed again: something has been approved."""
        for catalogue in PINNED:
            self._turns[catalogue].due.set()

    async def relist_tools(self) -> None:
        """Have the tools listed again, and wait until they have been.

        They are not listed more often for that than for changes, whoever asks.
        """
        turn = self._turns[TOOLS]
        turn.due.set()
        await turn.over.wait()

    async def fetch(
        self,
        connection: Connection,
        server: ServerDescription,
        wanted: Sequence[Catalogue] = CATALOGUES,
    ) -> None:
        """Fetch lists, all at once; one that can't be had stays as it was."""
        found: dict[Catalogue, Listing] = {}
        async with trio.open_nursery() as nursery:
            for catalogue in wanted:
                nursery.start_soon(self._fetch, connection, server, catalogue, found)
        self.listings = {**self.listings, **found}

    async def keep_current(self, connection: Connection, server: ServerDescription) -> None:
        """Fetch lists again whenever they may have changed, until cancelled."""
        async with trio.open_nursery() as nursery:
            for catalogue in CATALOGUES:
                if server.has(catalogue.capability):
                    nursery.start_soon(self._keep_list_current, connection, server, catalogue)

    async def _keep_list_current(
        self, connection: Connection, server: ServerDescription, catalogue: Catalogue
    ) -> None:
        while True:
            turn = self._turns[catalogue]
            with trio.move_on_after(self._patience(server, catalogue)):
                await turn.due.wait()
            # Whatever is announced from here on wants another turn.
            self._turns[catalogue] = _Turn()
            before = self.listings[catalogue]
            try:
                await self.fetch(connection, server, [catalogue])
            finally:
                turn.over.set()
            changed = self.listings[catalogue].items != before.items
            self._on_fetched(catalogue, changed or turn.announced)
            await trio.sleep(SETTLE)

    def _patience(self, server: ServerDescription, catalogue: Catalogue) -> float:
        """How long to wait for a change before a list is fetched all the same, in seconds."""
        failures = self._failures[catalogue]
        if not failures and self._announces(server, catalogue):
            return math.inf
        ttl = self.listings[catalogue].ttl_ms or 0
        wait = max(ttl / 1000, min(REFRESH * (1 << min(failures, 8)), MAX_REFRESH))
        return wait * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311  # nosec B311  # no secret

    def _announces(self, server: ServerDescription, catalogue: Catalogue) -> bool:
        if not server.has(catalogue.capability, "listChanged"):
            return False
        return server.era is Era.LEGACY or self._hears_of(catalogue)

    async def _fetch(
        self,
        connection: Connection,
        server: ServerDescription,
        catalogue: Catalogue,
        found: dict[Catalogue, Listing],
    ) -> None:
        if not server.has(catalogue.capability):
            found[catalogue] = catalogues.EMPTY
            return
        name, timeout = self._settings.name, self._settings.timeouts.start
        over_http = isinstance(self._settings.transport, config.HttpTransport)
        faults = list[Fault]()
        try:
            with trio.fail_after(timeout):
                listing = await catalogues.fetch(
                    connection,
                    catalogue,
                    self._caller,
                    on_rejected=lambda item, why: faults.append(ItemRejected(name, item, why)),
                    mirrors=over_http and server.era is Era.MODERN,
                )
            found[catalogue] = listing = await self._reviewed(catalogue, listing)
            faults += [
                ToolWithheld(name, item.identity, item.fault)
                for item in listing.items
                if item.fault is not None
            ]
            self._tell(catalogue, faults)
            del self._failures[catalogue]
        except ProtocolError as error:
            self._failed(connection, catalogue, str(error))
        except trio.TooSlowError:
            self._failed(connection, catalogue, f"it was not answered within {timeout:g} s")

    async def _reviewed(self, catalogue: Catalogue, listing: Listing) -> Listing:
        """Leave out what is not as it was approved, where that is withheld."""
        if self._review is None or catalogue not in PINNED:
            return listing
        listed = {item.identity: item.definition for item in listing.items}
        withheld = await self._review.withheld(catalogue.key, listed)
        items = tuple(item for item in listing.items if item.identity not in withheld)
        return attrs.evolve(listing, items=items) if withheld else listing

    def _tell(self, catalogue: Catalogue, faults: Sequence[Fault]) -> None:
        """Tell what is wrong with a list, but for what was so the last time too."""
        before, now = self._told.get(catalogue, set()), dict.fromkeys(faults)
        self._told[catalogue] = set(now)
        for fault in now:
            if fault not in before:
                self._on_event(fault)

    def _failed(self, connection: Connection, catalogue: Catalogue, reason: str) -> None:
        self._failures[catalogue] += 1
        if connection.server is not None:
            self._on_event(ListFailed(self._settings.name, catalogue.method, reason))
