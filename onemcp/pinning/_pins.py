"""The pins of one backend, and what differs from them.

Theory of operation: what a backend lists first is trusted (trust on first use). From then on each
list that is fetched is reviewed: what is pinned and looks different, or is not pinned at all, is a
`Change` until somebody approves it. Where changes are withheld, the review says what to leave out.
Who lists what is one `Review`: a backend has several while it is replaced, or one for each user.
Reviews compare in memory; the disk is read when they begin and when it says something else, and
written at first sight and when something is approved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias
from weakref import WeakSet

import attrs
import trio
from msgspec import Raw

from onemcp.state import StateError

from ._definition import Definition, define
from ._events import DefinitionChanged, DefinitionsPinned, PinsUnusable
from ._store import Key, Known, PinStore, Sight

MOST_TOLD: Final = 1000
"""Of how many changes of one backend there are events until something is approved."""

_BREATH: Final = 256
"""How many items are compared before others get their turn."""

Event: TypeAlias = DefinitionChanged | DefinitionsPinned | PinsUnusable


class Changed(StrEnum):
    """How something differs from what is pinned."""

    CHANGED = "changed"
    NEW = "new"


@attrs.frozen
class Change:
    """Something that is not as it was approved.

    Attributes:
        kind: What it is: ``tools`` or ``prompts``.
        name: Its name.
        how: How it differs.
        pinned: What it looked like when it was approved; None for what is new.
        now: What it looks like.
        is_withheld: Whether it is kept from clients.
    """

    kind: str
    name: str
    how: Changed
    pinned: Definition | None
    now: Definition
    is_withheld: bool


class StaleApproval(Exception):
    """What was to be approved looks different again, or is not there any more."""


class Pins:
    """What the tools and prompts of one backend looked like when they were approved.

    Attributes:
        backend: Its name.
        problem: Why that is not known, or None.
    """

    def __init__(
        self, backend: str, store: PinStore | None, on_event: Callable[[Event], object]
    ) -> None:
        """Read nothing yet.

        Args:
            backend: The backend's name.
            store: Where pins are kept; without, they are for this process alone.
            on_event: Takes what happens.
        """
        self.backend = backend
        self.problem: str | None = None
        self._store = store
        self._on_event = on_event
        self._known: Known = {}
        self._sight: Sight | tuple[()] = ()
        self._complaint: str | None = None
        self._reviews: WeakSet[Review] = WeakSet()
        self._told: set[Key] = set()
        self._lock = trio.Lock()

    @property
    def changes(self) -> Mapping[Key, Change]:
        """What is not as it was approved."""
        return {key: change for each in self._reviews for key, change in each.changes.items()}

    def count(self, kind: str) -> int:
        """Count what is pinned of a kind."""
        return sum(each == kind for each, _ in self._known)

    def review(self, *, withholds: bool, on_approved: Callable[[], object]) -> Review:
        """Return what compares the lists of one connection.

        Args:
            withholds: Whether changes are kept from clients.
            on_approved: Called when something has been approved: the lists are to be fetched again.
        """
        review = Review(self, withholds=withholds, on_approved=on_approved)
        self._reviews.add(review)
        return review

    async def approve(self, wanted: Mapping[Key, str]) -> list[Change]:
        """Approve changes: pin what there is now.

        Args:
            wanted: What to approve, and the digest that it was shown with.

        Returns:
            What has been approved.

        Raises:
            StaleApproval: Something looks different again; nothing was approved.
            StateError: It can't be written down; nothing was approved.
        """
        changes = self.changes
        for key, digest in wanted.items():
            if key not in changes or changes[key].now.digest != digest:
                raise StaleApproval(f"{key[1]!r} looks different again; look at it once more")
        approved = {key: changes[key].now for key in wanted}
        async with self._lock:
            await self._change(lambda _: approved)
        self._notify()
        return [changes[key] for key in wanted]

    def is_stale(self) -> bool:
        """Tell whether another process has approved something. Blocks on the disk."""
        if self._store is None or self._sight == ():
            return False
        return self._store.sight(self.backend) != self._sight

    async def look(self) -> None:
        """See what another process has approved."""
        async with self._lock:
            before, was_unusable = self._known, self.problem
            await self._load()
        if self._known != before or self.problem != was_unusable:
            self._notify()

    async def prepare(self, *, withholds: bool) -> None:
        """Know what is pinned, as far as it can be read."""
        async with self._lock:
            if self._sight == () or self.problem is not None:
                await self._load()
                self._complain(withholds=withholds)

    async def known(
        self, kind: str, found: Mapping[Key, Definition], *, withholds: bool
    ) -> Known | None:
        """Return what is pinned; what is seen for the first time is, from now on.

        Returns:
            None where that is not known.
        """
        await self.prepare(withholds=withholds)
        async with self._lock:
            if self.problem is None and found and not self.count(kind):
                await self._pin_first(kind, found, withholds=withholds)
            return self._known if self.problem is None else None

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell of changes, once each until something is approved."""
        for change in changes:
            key = change.kind, change.name
            if key not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(key)
                self._on_event(
                    DefinitionChanged(
                        self.backend,
                        change.kind,
                        change.name,
                        change.how.value,
                        change.is_withheld,
                    )
                )

    async def _pin_first(
        self, kind: str, found: Mapping[Key, Definition], *, withholds: bool
    ) -> None:
        try:
            await self._change(partial(_first, kind, found))
        except StateError as error:
            self.problem = str(error)
            self._complain(withholds=withholds)
        else:
            self._complaint = None
            self._on_event(DefinitionsPinned(self.backend, kind, self.count(kind)))

    def _complain(self, *, withholds: bool) -> None:
        if self.problem is not None and self.problem != self._complaint:
            self._complaint = self.problem
            self._on_event(PinsUnusable(self.backend, self.problem, withholds))

    def _notify(self) -> None:
        self._told.clear()
        for review in list(self._reviews):
            review.approved(self._known)

    async def _load(self) -> None:
        self._sight = None
        if self._store is None:
            return
        try:
            self._sight, self._known = await trio.to_thread.run_sync(
                _loaded, self._store, self.backend
            )
            self.problem = None
        except StateError as error:
            self.problem = str(error)
            self._sight = await trio.to_thread.run_sync(self._store.sight, self.backend)

    async def _change(self, add: Callable[[Known], Known]) -> None:
        if self._store is None:
            self._known = {**self._known, **add(self._known)}
            return
        self._known = await trio.to_thread.run_sync(self._store.change, self.backend, add)
        self._sight = await trio.to_thread.run_sync(self._store.sight, self.backend)


class Review:
    """Compares what one connection lists with what is pinned.

    Attributes:
        changes: What is not as it was approved.
    """

    def __init__(self, pins: Pins, *, withholds: bool, on_approved: Callable[[], object]) -> None:
        """Know of no changes yet; see `Pins.review`."""
        self.changes: dict[Key, Change] = {}
        self._on_approved = on_approved
        self._pins = pins
        self._withholds = withholds
        self._seen: dict[Key, tuple[Raw, Definition]] = {}

    def forget(self) -> None:
        """Take note that nothing is listed any more."""
        self.changes.clear()
        self._seen.clear()

    def approved(self, known: Known) -> None:
        """Take note that something has been approved."""
        for key, change in list(self.changes.items()):
            if known.get(key) == change.now:
                del self.changes[key]
        self._on_approved()

    async def withheld(self, kind: str, listed: Mapping[str, Raw]) -> frozenset[str]:
        """Compare a list, and return the names of what is to be left out of it.

        Args:
            kind: What is listed: ``tools`` or ``prompts``.
            listed: What, by its name.
        """
        found = await self._defined(kind, listed)
        known = await self._pins.known(kind, found, withholds=self._withholds)
        others = {key: change for key, change in self.changes.items() if key[0] != kind}
        if known is None:
            self.changes = others
            return frozenset(listed) if self._withholds else frozenset()
        changes = {
            key: self._change(key, known.get(key), now)
            for key, now in found.items()
            if known.get(key) != now
        }
        self.changes = {**others, **changes}
        self._pins.tell(changes.values())
        return frozenset(name for _, name in changes) if self._withholds else frozenset()

    def reason(self, kind: str, name: str) -> str | None:
        """Tell why something is kept from clients; None for what isn't."""
        if not self._withholds:
            return None
        if self._pins.problem is not None:
            return "what it looked like when it was approved can't be read"
        change = self.changes.get((kind, name))
        if change is None:
            return None
        if change.how is Changed.NEW:
            return "it is new and has not been approved"
        return "it has changed since it was approved"

    def _change(self, key: Key, pinned: Definition | None, now: Definition) -> Change:
        how = Changed.NEW if pinned is None else Changed.CHANGED
        return Change(*key, how, pinned, now, self._withholds)

    async def _defined(self, kind: str, listed: Mapping[str, Raw]) -> dict[Key, Definition]:
        """Return what everything looks like; what is as the last time is not looked at again."""
        found: dict[Key, Definition] = {}
        seen = {key: each for key, each in self._seen.items() if key[0] != kind}
        for number, (name, source) in enumerate(listed.items(), 1):
            key = kind, name
            before = self._seen.get(key)
            if before is None or bytes(before[0]) != bytes(source):
                before = source, define(kind, source)
            seen[key], found[key] = before, before[1]
            if number % _BREATH == 0:
                await trio.lowlevel.checkpoint()
        self._seen = seen
        return found


def _first(kind: str, found: Mapping[Key, Definition], known: Known) -> Known:
    """Trust what is seen for the first time, unless another process was first."""
    return {} if any(each == kind for each, _ in known) else found


def _loaded(store: PinStore, backend: str) -> tuple[Sight, Known]:
    sight = store.sight(backend)
    return sight, store.load(backend)
