"""How many programs are started at a time, and which of them goes first.

Theory of operation: to start a program costs processor time, mostly before it says its first word,
so a hundred at once are all late. Each start takes a *turn* of one :class:`StartQueue`. A turn ends
when the backend is up, when the attempt is over, or when it has taken twice as long as is usual:
what takes longer is waiting for something, most often, and goes on without holding up others. So
those that never start cost the rest a moment, and not their whole timeout. What is usual is learned
from the starts that went well; before there were any, little is waited for.

Who goes first is decided whenever a turn ends, by :class:`Rank`, then by who came first. What has
failed the last time goes last, and never has all turns, so that a crash loop is felt by nobody.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

import trio

PATIENCE: Final = 0.1
"""How long a start may hold up others, however fast they are, in seconds."""

MOST_PATIENCE: Final = 10.0
"""How long it may, however slow they are, in seconds."""

USUAL: Final = 2.0
"""How much longer it may take than is usual."""

LEARNING: Final = 0.25
"""How much the latest start that went well says about what is usual."""

STABLE: Final = 10.0
"""How long a backend has to be up, in seconds, not to have failed when it ends."""


class Rank(IntEnum):
    """Who goes first; the least does."""

    REQUIRED = 0
    WANTED = 1
    ORDINARY = 2
    FAILING = 3


class Turn:
    """One start: it waits for its turn when it is entered, and is over when it is left.

    Attributes:
        began: When the turn began, by Trio's clock; not a number before that.
        up: When what is started was up; likewise.
        has_failed: Whether it never was, or not for long.
    """

    def __init__(self, queue: StartQueue, rank: Callable[[], Rank]) -> None:
        """Ask for nothing yet.

        Args:
            queue: Where to wait.
            rank: Tells how urgent it is, now.
        """
        self.began = self.up = math.nan
        self.has_failed = False
        self._queue = queue
        self._rank = rank
        self._may_begin = trio.Event()
        self._ended = trio.Event()

    async def __aenter__(self) -> Self:
        """Wait for the turn."""
        self._queue._join(self)  # noqa: SLF001 - a part of it
        try:
            await self._may_begin.wait()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn."""
        self.end()

    @property
    def rank(self) -> Rank:
        """How urgent it is, now."""
        return self._rank()

    def begin(self) -> None:
        """Let it begin."""
        self.began = trio.current_time()
        self._may_begin.set()

    def came_up(self) -> None:
        """Take note that what is started is up: others may start."""
        self.up = trio.current_time()
        self._queue._learn(self.up - self.began)  # noqa: SLF001 - a part of it
        self.end()

    def lost(self) -> None:
        """Take note that what was started is gone."""
        self.has_failed = not trio.current_time() - self.up >= STABLE

    async def expire(self) -> None:
        """Let others start after a while, if it isn't over before."""
        with trio.move_on_after(self._queue.turn_seconds):
            await self._ended.wait()
        self.end()

    def end(self) -> None:
        """Let others start; what is started goes on."""
        self._ended.set()
        self._queue._leave(self)  # noqa: SLF001 - a part of it


class StartQueue:
    """Those that start, and those that wait for it.

    Attributes:
        patience: How long a start may hold up others, however fast they are, in seconds.
    """

    def __init__(self, limit: float = math.inf, *, patience: float = PATIENCE) -> None:
        """Begin with nobody.

        Args:
            limit: How many may start at a time.
            patience: How long a start may hold up others, however fast they are, in seconds.
        """
        self.patience = patience
        self._limit = limit
        self._usual = 0.0
        self._waiting: list[Turn] = []
        self._starting: dict[Turn, Rank] = {}

    @property
    def limit(self) -> float:
        """How many may start at a time; what starts already goes on."""
        return self._limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self._limit = limit
        self._admit()

    @property
    def turn_seconds(self) -> float:
        """How long a turn lasts at most, in seconds."""
        return max(self.patience, min(USUAL * self._usual, MOST_PATIENCE))

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @property
    def starting(self) -> int:
        """How many have their turn."""
        return len(self._starting)

    def __repr__(self) -> str:
        return f"<StartQueue: {self.starting} of {self.limit} start, {self.waiting} wait>"

    def _learn(self, seconds: float) -> None:
        """Take note of how long a start has taken that went well."""
        self._usual += (seconds - self._usual) * (LEARNING if self._usual else 1.0)

    def _join(self, turn: Turn) -> None:
        self._waiting.append(turn)
        self._admit()

    def _leave(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif self._starting.pop(turn, None) is not None:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and len(self._starting) < self._limit:
            turn = min(self._waiting, key=lambda each: each.rank)
            rank = turn.rank
            failing = sum(each is Rank.FAILING for each in self._starting.values())
            if rank is Rank.FAILING and failing >= max(1, self._limit - 1):
                return
            self._waiting.remove(turn)
            self._starting[turn] = rank
            turn.begin()


class Starter:
    """How one backend starts, again and again.

    Attributes:
        queue: Where it waits for its turn.
    """

    def __init__(self, queue: StartQueue, *, required: bool) -> None:
        """Start nothing yet.

        Args:
            queue: Where to wait.
            required: Whether the gateway isn't ready without it.
        """
        self.queue = queue
        self._required = required
        self._wanted = 0
        self._last: Turn | None = None
        self._begun = trio.Event()

    @property
    def rank(self) -> Rank:
        """How urgent the next start is."""
        if self._last is not None and self._last.has_failed:
            return Rank.FAILING
        if self._required:
            return Rank.REQUIRED
        return Rank.ORDINARY if self._last is None and not self._wanted else Rank.WANTED

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for a turn to start, and take note of what comes of it."""
        async with Turn(self.queue, lambda: self.rank) as turn:
            self._begun.set()
            try:
                yield turn
            finally:
                turn.lost()
                self._last = turn

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Take note that somebody waits for it, as long as the block runs."""
        self._wanted += 1
        try:
            yield
        finally:
            self._wanted -= 1

    async def wait_begun(self) -> None:
        """Wait until it was its turn for the first time."""
        await self._begun.wait()

    def forget(self) -> None:
        """Take note that an operator starts it: that it failed before is of no matter."""
        self._last = None
