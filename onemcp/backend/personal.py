"""A backend that each of its users has for themselves, with a login of their own.

Theory of operation: to each user belongs a :class:`Backend` of their own, with everything that a
backend has: connections, lists, subscriptions, tasks, sessions at the server. So nothing is there
that could be another's. A :class:`Roster` makes one when its user first comes, lets its connections
end when nobody uses it for a while, and begins anew with the next call: what it lists is known
meanwhile. What is to run is decided synchronously; one task starts and stops what that takes.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import attrs
import trio

from onemcp import config
from onemcp.protocol.errors import LoginWanted
from onemcp.supervision import ChildSpec, DynamicSupervisor, SupervisionError

from .backend import Backend
from .call import Call
from .exchange import Exchange
from .standing import Standing

SWEEP: Final = 30.0
"""How often it is looked who has not been used for a while, in seconds, at most."""


class _Standing(Standing):
    """How a backend stands for one of its users."""

    def __init__(self, name: str, user: str, login_url: str | None) -> None:
        """Begin with a backend that is about to be started.

        Args:
            name: What it is called.
            user: Whose it is.
            login_url: Where the user can log in, or None where there is no page for that.
        """
        super().__init__(name)
        self._user = user
        self._login_url = login_url

    def check_tried(self) -> None:
        """Make sure that it is being connected to; see `Standing.check_tried`.

        Raises:
            LoginWanted: Its user has to log in first.
        """
        self.check_login()
        super().check_tried()

    def check_login(self) -> None:
        """Make sure that its user has logged in, as far as is known.

        Raises:
            LoginWanted: The user has not.
        """
        if not (self.is_given_up and self.needs_login):
            return
        how = f"open {self._login_url}" if self._login_url else f"they say: {self.failure}"
        raise LoginWanted(
            f"backend {self._name!r} needs a login of each user, and {self._user!r} has none there "
            f"that is good for this: {how}",
            {"backend": self._name, "url": self._login_url},
        )


class PersonalBackend(Backend):
    """A backend as one of its users has it.

    Attributes:
        user: Who.
        standing: Whether it takes calls.
        on_use: Called when it is wanted.
    """

    def __init__(
        self, settings: config.Backend, *, user: str, login_url: str | None, **more: Any
    ) -> None:
        """Describe a backend; the other arguments are those of `Backend`."""
        super().__init__(settings, **more)
        self.user = user
        self.standing: _Standing = _Standing(settings.name, user, login_url)
        self.on_use: Callable[[], object] = lambda: None

    async def open(self, call: Call) -> Exchange:
        """Send a call; see `Backend.open`.

        Raises:
            LoginWanted: Its user has to log in.
        """
        self.on_use()
        return await super().open(call)

    def open_nowait(self, call: Call) -> Exchange:
        """Send a call that nothing has to be waited for; see `Backend.open_nowait`."""
        self.on_use()
        return super().open_nowait(call)

    def check_login(self) -> None:
        """Make sure that its user has logged in, as far as is known.

        Raises:
            LoginWanted: The user has not.
        """
        self.standing.check_login()

    async def wait_login(self) -> None:
        """Wait until it is not for want of a login that it is down."""
        while self.standing.is_given_up and self.needs_login:
            await self.standing.change()


@attrs.define(eq=False)
class Member:
    """What one user has.

    Attributes:
        backend: The backend.
        spec: What runs it.
        since: When the user was last let in, in seconds since the epoch.
        used: When it was last wanted, by Trio's clock.
        is_wanted: Whether it is to run.
        runs: Whether it does.
    """

    backend: PersonalBackend
    spec: ChildSpec
    since: float
    used: float = attrs.field(factory=trio.current_time)
    is_wanted: bool = True
    runs: bool = False

    @property
    def is_used(self) -> bool:
        """Whether anything of its user is going on."""
        backend = self.backend
        return bool(backend.in_flight or backend.waiting or backend.upstream.is_wanted)


class Roster:
    """The users of one configured backend, and what each of them has.

    Attributes:
        stand_in: What is shown to nobody in particular, and to whom there is no more room for; it
            never runs.
    """

    def __init__(
        self,
        stand_in: Backend,
        make: Callable[[str], tuple[PersonalBackend, ChildSpec]],
        *,
        most: int,
        idle: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nobody.

        Args:
            stand_in: A backend that never runs.
            make: Makes the backend of a user, and what runs it.
            most: How many users there may be at once.
            idle: How long a backend runs that nobody uses, in seconds.
            now: Tells the time, in seconds since the epoch.
        """
        # One that has been let go may be stopped a little later than its place is given away.
        self.supervisor = DynamicSupervisor("users", max_children=2 * most)
        self.stand_in = stand_in
        stand_in.standing.failure = "each of its users has it for themselves"
        self._make = make
        self._most = most
        self._idle = idle
        self._now = now
        self._members: OrderedDict[str, Member] = OrderedDict()
        self._leaving: list[Member] = []
        self._news = trio.Event()
        self._is_closed = False

    @property
    def name(self) -> str:
        """The backend's key in the configuration."""
        return self.stand_in.name

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[PersonalBackend]:
        return iter([member.backend for member in self._members.values()])

    def __repr__(self) -> str:
        return f"<Roster of {self.name!r}: {len(self)} users>"

    def backend_of(self, user: str) -> Backend:
        """Return what a user has; the stand-in where there is no room for one more user."""
        member = self._members.get(user)
        if member is None:
            if self._is_closed or not self._has_room():
                return self.stand_in
            member = self._members[user] = self._new(user)
            self._tell()
        self._members.move_to_end(user)
        member.since = self._now()
        return member.backend

    def has(self, backend: Backend) -> bool:
        """Tell whether a backend is what a user has just now."""
        return (
            isinstance(backend, PersonalBackend)
            and (member := self._members.get(backend.user)) is not None
            and member.backend is backend
        )

    def adopt(self, other: Roster) -> None:
        """Take over what users want who are there in a roster that this one replaces."""
        for user, member in other._members.items():
            backend = self.backend_of(user) if member.is_used else self.stand_in
            if backend is not self.stand_in:
                backend.adopt(member.backend)

    def drop(self, is_out: Callable[[str, float], bool]) -> None:
        """End what those users have who are let in no more, with the calls in flight.

        Args:
            is_out: Tells that of a user who was last let in at some time, in seconds since the
                epoch.
        """
        for user, member in list(self._members.items()):
            if is_out(user, member.since):
                self._let_go(user, "its user is let in no more")

    def close(self, reason: str) -> None:
        """Fail all calls in flight, and take nobody any more."""
        self._is_closed = True
        for member in self._members.values():
            member.backend.abandon(reason)

    async def drain(self) -> None:
        """Take no new calls, and wait for those in flight."""
        self._is_closed = True
        async with trio.open_nursery() as nursery:
            for backend in self:
                nursery.start_soon(backend.drain)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Start and stop what users have, as it is wanted, until cancelled."""
        for member in self._members.values():
            member.runs = False  # in case that this is a restart
        task_status.started()
        while True:
            news = self._news
            self._sweep(trio.current_time())
            await self._settle()
            with trio.move_on_after(min(SWEEP, self._idle)):
                await news.wait()

    # --- who is there ------------------------------------------------------------------------

    def _new(self, user: str) -> Member:
        backend, spec = self._make(user)
        member = Member(backend, spec, self._now())

        def use() -> None:
            member.used = trio.current_time()
            if not member.is_wanted:
                member.is_wanted = True
                self._tell()

        backend.on_use = use
        return member

    def _has_room(self) -> bool:
        """Make room for one more user, if somebody's has not been used for the longest."""
        if len(self._members) < self._most:
            return True
        for user, member in self._members.items():
            if not member.is_used:
                self._let_go(user, "another user needs its place")
                return True
        self.stand_in.standing.failure = f"it serves {self._most} users, the limit; try again later"
        return False

    def _let_go(self, user: str, reason: str) -> None:
        member = self._members.pop(user)
        member.is_wanted = False
        backend = member.backend
        backend.abandon(reason)
        backend.fail(reason)
        self._leaving.append(member)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # --- what runs ---------------------------------------------------------------------------

    def _sweep(self, now: float) -> None:
        for member in self._members.values():
            if member.is_used:
                member.is_wanted, member.used = True, now
            elif now >= member.used + self._idle:
                member.is_wanted = False

    async def _settle(self) -> None:
        while self._leaving:
            await self._stop(self._leaving.pop())
        for member in list(self._members.values()):
            if member.is_wanted and not member.runs:
                await self._start(member)
            elif member.runs and not member.is_wanted:
                await self._stop(member)

    async def _start(self, member: Member) -> None:
        try:
            await self.supervisor.start_child(member.spec)
        except SupervisionError as error:
            member.backend.fail(str(error))
        member.runs = True

    async def _stop(self, member: Member) -> None:
        if member.runs:
            member.runs = False
            with contextlib.suppress(SupervisionError):  # it has ended by itself
                await self.supervisor.stop_child(member.spec.id)


def user_of(backend: Backend) -> str:
    """Return whose a backend is; "" where all users have the same one."""
    return backend.user if isinstance(backend, PersonalBackend) else ""


def check_login(backend: Backend) -> None:
    """Make sure that a backend is not down for want of a login of its user.

    Raises:
        LoginWanted: It is.
    """
    if isinstance(backend, PersonalBackend):
        backend.check_login()
