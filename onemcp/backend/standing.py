"""How a backend stands: whether it takes calls at once, after a wait, or not at all.

Theory of operation: everything that decides it is here, and `admits` is the one place where it is
decided. In this order: one that is being removed, that an operator has stopped or that has been
given up refuses calls at once; while one comes up, or is held by an operator, calls wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import trio

from onemcp.protocol.errors import BackendUnavailable, ShuttingDown

from .starting import Starter
from .succession import Replaced

if TYPE_CHECKING:
    from .backend import Backend
    from .breaker import Breaker

CONNECTION: Final = "connection"
"""The child of a backend's supervisor that holds its connection."""

STOPPED: Final = "it was stopped by an operator"
"""Why a backend is down that was told to be."""


class Standing:
    """How one backend stands.

    Attributes:
        failure: Why it is not connected, or None.
        needs_login: Whether that is for want of a login.
        is_given_up: Whether it is not being tried to connect.
        has_been_up: Whether it has ever been connected.
        is_draining: Whether it is being removed.
    """

    def __init__(self, name: str) -> None:
        """Begin with a backend that is about to be started.

        Args:
            name: What it is called.
        """
        self.failure: str | None = None
        self.needs_login = False
        self.is_given_up = False
        self.has_been_up = False
        self.is_draining = False
        self._name = name
        self._is_held = False
        self._is_halted = False
        self._successor: Backend | None = None
        self._change = trio.Event()

    @property
    def is_starting(self) -> bool:
        """Whether it is not known yet if the backend comes up at all."""
        is_over = self.has_been_up or self.is_given_up or self.is_draining
        return not is_over and self.failure is None

    @property
    def is_open(self) -> bool:
        """Whether calls are taken while the backend is connected to."""
        return not (self.is_draining or self._is_halted or self._is_held)

    def admits(self, *, is_up: bool) -> bool:
        """Tell whether calls are taken by now; False where they may be after a `change`.

        Args:
            is_up: Whether the backend is connected to.

        Raises:
            BackendUnavailable: The backend is down and not being restarted.
            Replaced: Another backend has taken its place.
            ShuttingDown: The backend is being removed.
        """
        if self.is_draining:
            raise self.leaving
        if self._is_halted:
            raise self.stopped
        if not is_up and not self._is_held:
            self.check_tried()
        return is_up and not self._is_held

    def check_tried(self) -> None:
        """Make sure that the backend is being connected to, or is about to be.

        Raises:
            BackendUnavailable: It isn't.
        """
        if self.is_given_up:
            state = "needs a login" if self.needs_login else "is down"
            raise BackendUnavailable(f"backend {self._name!r} {state}: {self.failure}")

    @property
    def leaving(self) -> ShuttingDown:
        """What calls fail with while the backend is being removed."""
        if self._successor is not None:
            return Replaced(self._successor)
        return ShuttingDown(f"backend {self._name!r} is being removed")

    @property
    def stopped(self) -> BackendUnavailable:
        """What calls fail with while an operator has it stopped."""
        return BackendUnavailable(f"backend {self._name!r} is down: {STOPPED}")

    async def change(self) -> None:
        """Wait until it stands otherwise."""
        await self._change.wait()

    def signal(self) -> None:
        """Let those look again who wait for a change."""
        self._change.set()
        self._change = trio.Event()

    # --- what happens ------------------------------------------------------------------------

    def begin(self) -> None:
        """Take note that it is being connected to."""
        self.is_given_up = self._is_held = self._is_halted = False

    def come_up(self) -> None:
        """Take note that it is connected to."""
        self.failure, self.needs_login, self.has_been_up = None, False, True
        self.signal()

    def go_down(self, failure: str, *, needs_login: bool) -> None:
        """Take note that the connection has ended, or could not be made."""
        self.failure, self.needs_login = failure, needs_login

    def give_up(self) -> None:
        """Take note that nobody tries to connect any more."""
        self.is_given_up = True
        self.signal()

    def drain(self) -> None:
        """Take no new calls: it is being removed."""
        self.is_draining = True
        self.signal()

    def quiesce(self, *, stays_down: bool) -> None:
        """Take no calls for now; refuse them where it is to stay down."""
        self._is_halted, self._is_held = stays_down, not stays_down
        self.signal()

    def renew(self) -> None:
        """Forget what became of it before."""
        self.failure, self.needs_login = None, False
        self.begin()
        self.signal()

    def follow(self, others: Collection[Standing], *, is_up: bool) -> None:
        """Stand as others do of which one is enough: it fails where all have failed.

        Args:
            others: How they stand.
            is_up: Whether one of them is connected to.
        """
        self.has_been_up = self.has_been_up or is_up
        self.is_given_up = all(each.is_given_up for each in others)
        self.failure, self.needs_login = None, False
        if not is_up and all(each.failure is not None for each in others):
            first = next(iter(others))
            self.failure, self.needs_login = first.failure, first.needs_login
        self.signal()

    def give_way(self, successor: Backend) -> None:
        """Send calls that have not begun to another backend, once it is being removed."""
        self._successor = successor

    def __repr__(self) -> str:
        state = "draining" if self.is_draining else "given up" if self.is_given_up else "tried"
        return f"<Standing of {self._name!r} {state} failure={self.failure!r}>"


class Stands(ABC):
    """What has a standing and a breaker, and tells of both.

    Attributes:
        standing: How it stands.
        starter: Starts it.
    """

    standing: Standing
    starter: Starter

    @property
    @abstractmethod
    def breaker(self) -> Breaker:
        """Lets calls through, or refuses them for now."""

    @property
    def trouble(self) -> str | None:
        """Why no calls go through: it is not connected, or its breaker is open. Or None."""
        if self.is_up and not self.breaker.is_closed:
            return self.breaker.reason
        return self.failure

    def retry_in(self, restart: float | None) -> float | None:
        """Tell in how many seconds calls may go through again; None where that is not known.

        Args:
            restart: In how many seconds its connection is made again, if that is planned.
        """
        return self.breaker.retry_in if self.is_up else restart

    @property
    def failure(self) -> str | None:
        """Why it is not connected, or None."""
        return self.standing.failure

    @property
    def needs_login(self) -> bool:
        """Whether that is for want of a login."""
        return self.standing.needs_login

    @property
    def is_starting(self) -> bool:
        """Whether it is not known yet if the backend comes up at all."""
        return self.standing.is_starting

    @property
    @abstractmethod
    def is_up(self) -> bool:
        """Whether it is connected to and its lists are known."""

    @abstractmethod
    def give_up(self) -> None:
        """Take note that the supervisor has stopped trying: calls fail, names vanish."""

    def _wanted(self) -> AbstractContextManager[None]:
        """Take note that somebody waits for it, as long as the block runs."""
        return self.starter.wanted()

    async def wait_begun(self) -> None:
        """Wait until it was its turn to start for the first time."""
        await self.starter.wait_begun()

    async def wait_ready(self) -> None:
        """Wait until it is up, unless the supervisor gives up before.

        Raises:
            BackendUnavailable: It has been given up.
        """
        with self._wanted():
            while not self.is_up:
                self.standing.check_tried()
                await self.standing.change()

    async def wait_tried(self) -> None:
        """Wait until it has come up once, or has failed to."""
        with self._wanted():
            while self.is_starting:
                await self.standing.change()

    async def wait_settled(self) -> None:
        """Wait until it is up, or it is known why it isn't."""
        while not self.is_up and self.failure is None:
            await self.standing.change()

    def halt(self) -> None:
        """Take note that an operator has stopped it: its names vanish until it is started."""
        self.fail(STOPPED)

    def fail(self, reason: str) -> None:
        """Take note that it isn't tried any more, and why."""
        self.standing.go_down(reason, needs_login=False)
        self.give_up()
