"""All sessions of legacy clients, under their supervisor."""

from __future__ import annotations

import secrets
from typing import Final

import trio

from onemcp.multiplexer import View
from onemcp.protocol.errors import Overloaded
from onemcp.supervision import ChildSpec, DynamicSupervisor, Restart, SupervisionError

from .session import Session
from .terms import Deadlines, Opening

MAX_SESSIONS: Final = 1_000_000
"""More than the configuration allows: the limit that counts is `Sessions.limit`."""

ABANDONED: Final = 60.0
"""After so many seconds without a request or a stream a session may make room for a new one."""


class Sessions:
    """All sessions, under their supervisor.

    Attributes:
        supervisor: Where they live.
        limit: How many there may be at a time.
        deadlines: When those that are opened from now on end by themselves.
    """

    def __init__(self, limit: int, deadlines: Deadlines) -> None:
        """Allow up to `limit` sessions at a time."""
        self.supervisor = DynamicSupervisor("sessions", max_children=MAX_SESSIONS)
        self.limit = limit
        self.deadlines = deadlines
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, opening: Opening) -> Session:
        """Open a session.

        Raises:
            Overloaded: There are too many, or the gateway is being stopped.
        """
        if len(self._sessions) >= self.limit:
            self._make_room()
        session = Session(secrets.token_urlsafe(24), opening, self.deadlines)
        spec = ChildSpec(
            id=session.id[:8] + secrets.token_hex(4),
            start=_Registered(session, self._sessions),
            restart=Restart.TEMPORARY,
        )
        try:
            await self.supervisor.start_child(spec)
        except SupervisionError as error:
            raise Overloaded(f"no session can be opened now: {error}") from error
        return session

    def _make_room(self) -> None:
        """Close the session that its client has left alone for longest.

        Raises:
            Overloaded: None has been left alone for long enough.
        """
        oldest = min(self._sessions.values(), key=lambda session: session.quiet_since)
        if oldest.quiet_since > trio.current_time() - ABANDONED:
            raise Overloaded(f"{len(self._sessions)} sessions are open, the limit")
        oldest.close()

    def find(self, session_id: str, principal: str, view: View) -> Session | None:
        """Return a live session of a principal at an endpoint; None where there is none such."""
        session = self._sessions.get(session_id)
        if session is None or session.opening.principal != principal:
            return None
        if session.opening.view is not view:
            return None
        session.touch()
        return session


class _Registered:
    """Runs a session, which can be found by its id as long as it runs."""

    def __init__(self, session: Session, registry: dict[str, Session]) -> None:
        self._session = session
        self._registry = registry

    async def __call__(self, *, task_status: trio.TaskStatus[Session]) -> None:
        self._registry[self._session.id] = self._session
        try:
            await self._session.run(task_status=task_status)
        finally:
            self._registry.pop(self._session.id, None)
