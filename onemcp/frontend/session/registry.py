"""All sessions of legacy clients, under their supervisor.

Theory of operation: a session is found by its id in a dictionary, which is all that most requests
need. An id that is not in it may still be of a session: one that was opened before a restart, or at
another instance with the same sealing key. Then the id itself says what the session is, the ledger
that it has not ended, and it goes on here as a session like any other. An id that was not sealed
with the key costs no more than to find that out.

As long as there are sessions, one task ends those whose time is over: a timer in each of thousands
would cost more than all else that they hold.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from typing import Final

import attrs
import trio

from onemcp.admission import PlaceLimits, Places, Shedding
from onemcp.frontend.events import (
    SessionEnded,
    SessionNotNoted,
    SessionTakenOver,
    SessionUnknown,
)
from onemcp.multiplexer import View
from onemcp.protocol.errors import Overloaded
from onemcp.state import Keyring, ledger_in_memory
from onemcp.supervision import ChildSpec, DynamicSupervisor, Restart, SupervisionError
from onemcp.telemetry import Attributes

from .memory import Record, SessionMemory
from .passport import Passports, SessionRefused, gist, opening_of
from .session import Session, name_of
from .terms import OVER_HTTP, Deadlines, Opening

MAX_SESSIONS: Final = 1_000_000
"""More than the configuration allows: the limits that count are those of `Sessions.places`."""

ABANDONED: Final = 60.0
"""After so many seconds without a request or a stream a session may make room for a new one."""

SLACK: Final = 1.0
"""How late a session may be ended, in seconds: many end together."""

NOTING: Final = 10.0
"""How long the end of a session may take to be noted, in seconds."""

SessionEvent = SessionEnded | SessionTakenOver | SessionUnknown | SessionNotNoted


class Sessions:
    """All sessions, under their supervisor.

    Attributes:
        supervisor: Where they live.
        places: How many there may be at a time, and of one principal.
        deadlines: When those that are opened from now on end by themselves.
    """

    def __init__(
        self,
        limits: PlaceLimits,
        deadlines: Deadlines,
        *,
        passports: Passports | None = None,
        memory: SessionMemory | None = None,
        shedding: Shedding | None = None,
        way: Attributes = OVER_HTTP,
        on_event: Callable[[SessionEvent], object] = lambda _: None,
    ) -> None:
        """Begin without sessions.

        Args:
            limits: How many there may be at a time.
            deadlines: When they end by themselves.
            passports: What issues their ids; by default with a key that ends with the process.
            memory: Where it is noted what their ids don't say; by default it, too, ends with the
                process.
            shedding: What is turned away just now; by default nothing ever is.
            way: How their messages come.
            on_event: Takes what happens to them.
        """
        self.supervisor = DynamicSupervisor("sessions", max_children=MAX_SESSIONS)
        self.places = Places("sessions", "limits.sessions", limits, shedding)
        self.deadlines = deadlines
        self._passports = passports or Passports(Keyring.ephemeral())
        self._memory = memory or SessionMemory(ledger_in_memory(), on_event)
        self._way = way
        self._on_event = on_event
        self._sessions: dict[str, Session] = {}
        self._taking_over = trio.Lock()
        self._timer: trio.CancelScope | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, opening: Opening) -> Session:
        """Open a session.

        Raises:
            InvalidParams: The client says too much of itself.
            Overloaded: There are too many, there can be no new ones just now, or the gateway is
                being stopped.
        """
        self.places.check_open()
        if opening.outbox is not None:  # it ends with what carries it
            return await self._start(Session(secrets.token_urlsafe(24), opening, self.deadlines))
        if opening.client_info is not None:
            opening = attrs.evolve(opening, client_info=gist(opening.client_info))
        session_id, passport = self._passports.issue(opening, self.deadlines.lifetime)
        record = Record(self._memory, passport)
        return await self._start(Session(session_id, opening, self.deadlines, record))

    async def find(
        self, session_id: str, principal: str, view: View, grant: Hashable = None
    ) -> Session | None:
        """Return the session of a principal at an endpoint; None where there is none such.

        From here on it sees what `view` shows of that endpoint, with rights that come from `grant`.

        Raises:
            Overloaded: It has to be taken over, and there are too many.
        """
        session = self._sessions.get(session_id)
        if session is not None and session.is_stopped:
            await session.wait_forgotten()
            session = None
        try:
            if session is None:
                session = await self._take_over(session_id, principal, view)
            _check_owner(session, principal, view)
        except SessionRefused as refused:
            self._on_event(SessionUnknown(principal, str(refused), name_of(session_id)))
            return None
        if session.is_over:
            return None
        session.look_at(view, grant)
        return session

    def end(self, is_gone: Callable[[Hashable], bool]) -> None:
        """End sessions for good, with all that is under way in them.

        Args:
            is_gone: Tells it of where a session's rights come from.
        """
        for session in list(self._sessions.values()):
            if is_gone(session.caller.grant):
                session.close()

    def put_aside(self) -> None:
        """Hold nothing more of sessions that their clients have left alone.

        They don't end: whoever comes back finds theirs, as after a restart. What ends is what was
        kept of their streams.
        """
        latest = trio.current_time() - ABANDONED
        for session in self._sessions.values():
            if session.quiet_since <= latest and session.opening.outbox is None:
                session.stop()

    async def _take_over(self, session_id: str, principal: str, view: View) -> Session:
        passport = self._passports.read(session_id, principal, view)
        async with self._taking_over:  # once, though several requests come for it
            session = self._sessions.get(session_id)
            if session is not None:
                return session
            notes = await self._memory.recall(passport)
            opening = opening_of(passport, principal, view)
            left = passport.expires - self._passports.now()
            deadlines = attrs.evolve(self.deadlines, lifetime=left)
            record = Record(self._memory, passport, notes)
            age = max(0.0, self._passports.now() - passport.opened)
            session = await self._start(Session(session_id, opening, deadlines, record, age=age))
        self._on_event(SessionTakenOver(principal, passport.revision, name_of(session_id)))
        return session

    async def _start(self, session: Session) -> Session:
        principal = session.opening.principal
        if not self.places.has_room(principal):
            self._make_room(principal)
        registered = _Registered(session, self._sessions, self.places, self._ended)
        spec = ChildSpec(id=secrets.token_hex(8), start=registered, restart=Restart.TEMPORARY)
        try:
            await self.supervisor.start_child(spec)
            await self._watch_the_clock(session)
        except SupervisionError as error:
            raise Overloaded(f"no session can be opened now: {error}") from error
        finally:
            registered.give_up_unless_begun()
        return session

    def _ended(self, session: Session) -> None:
        """Tell of a session that is over."""
        opening = session.opening
        self._on_event(
            SessionEnded(
                opening.principal,
                name_of(session.id),
                revision=opening.revision,
                seconds=trio.current_time() - session.opened,
                way=self._way,
            )
        )

    async def _watch_the_clock(self, session: Session) -> None:
        """See to it that a session is ended in time."""
        if self._timer is not None:
            self._timer.deadline = min(self._timer.deadline, session.ends_at)
            return
        self._timer = trio.CancelScope()
        await self.supervisor.start_child(
            ChildSpec(id="deadlines", start=self._end_in_time, restart=Restart.TEMPORARY)
        )

    async def _end_in_time(self, *, task_status: trio.TaskStatus[None]) -> None:
        """End sessions whose time is over, until none is left."""
        task_status.started()
        try:
            while self._sessions:
                now = trio.current_time()
                for session in list(self._sessions.values()):
                    if session.ends_at <= now:
                        session.close()
                live = [each for each in self._sessions.values() if not each.is_over]
                end = min((each.ends_at for each in live), default=now)
                pause = min(SLACK, self.deadlines.idle / 64)
                with trio.CancelScope(deadline=max(end, now + pause)) as self._timer:
                    await trio.sleep_forever()
        finally:
            self._timer = None

    def _make_room(self, principal: str) -> None:
        """Close the session that its client has left alone for longest.

        It is one of the principal's own where that has as many as one may have; otherwise one of
        whoever has most, if that is more than the principal has.

        Raises:
            Overloaded: There is none that has been left alone for long enough.
        """
        own = self.places.is_full_for(principal)
        latest = trio.current_time() - ABANDONED
        abandoned = [
            each
            for each in self._sessions.values()
            if each.quiet_since <= latest and (not own or each.opening.principal == principal)
        ]
        if abandoned:
            chosen = min(abandoned, key=self._turn)
            owner = chosen.opening.principal
            if owner == principal or self.places.of(owner) > self.places.of(principal):
                chosen.close()
                return
        raise self.places.refuse(principal)

    def _turn(self, session: Session) -> tuple[int, float]:
        """Return what says which abandoned session makes room first."""
        return -self.places.of(session.opening.principal), session.quiet_since


class _Registered:
    """Runs a session, which can be found by its id as long as it runs.

    That it is over is noted before it cannot be found any more: nobody can take it over in between.
    Where it is not over, but stopped, it can be.
    """

    def __init__(
        self,
        session: Session,
        registry: dict[str, Session],
        places: Places,
        on_end: Callable[[Session], object],
    ) -> None:
        self._session = session
        self._on_end = on_end
        self._registry = registry
        self._places = places
        self._has_begun = self._is_given_up = False
        places.enter(session.opening.principal)  # at once: others may come before it is begun

    async def __call__(self, *, task_status: trio.TaskStatus[Session]) -> None:
        session = self._session
        if self._is_given_up:  # it was not waited for any longer
            task_status.started(session)
            return
        self._has_begun = True
        self._registry[session.id] = session
        try:
            await session.run(task_status=task_status)
        finally:
            if session.is_over:
                with trio.move_on_after(NOTING, shield=True):
                    await session.record.end()
            if session.is_over or session.opening.outbox is not None:
                self._on_end(session)
            self._registry.pop(session.id, None)
            self._places.leave(session.opening.principal)
            session.forget()

    def give_up_unless_begun(self) -> None:
        """Give the place back where nobody is going to."""
        if not self._has_begun:
            self._is_given_up = True
            self._places.leave(self._session.opening.principal)


def _check_owner(session: Session, principal: str, view: View) -> None:
    """Make sure that a session is a principal's, at an endpoint.

    Raises:
        SessionRefused: It isn't.
    """
    if session.opening.principal != principal:
        raise SessionRefused("it is another principal's")
    if session.opening.view.name != view.name:
        raise SessionRefused("it is of another endpoint")
