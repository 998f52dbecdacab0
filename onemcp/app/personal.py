"""Backends that each user has for themselves: how one is made for a user."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from onemcp import config
from onemcp.backend import (
    Backend,
    BackendDown,
    BackendReady,
    PersonalBackend,
    Roster,
    UserConnected,
    UserDisconnected,
)
from onemcp.supervision import ChildSpec, Strategy, Supervisor

from .logins import login_of_user
from .trees import supervise

if TYPE_CHECKING:
    from .building import Builder

Hook: TypeAlias = Callable[[Any], object]


@attrs.frozen
class PersonalBackends:
    """Makes backends that each user has for themselves.

    Attributes:
        builder: Knows what all backends are made of.
    """

    builder: Builder

    def roster(self, settings: config.Backend) -> Roster:
        """Return the users of a backend: nobody yet."""
        transport = settings.transport
        auth = transport.auth if isinstance(transport, config.HttpTransport) else None
        login = auth if isinstance(auth, config.AuthorizationCodeLogin) else None
        login = login or config.AuthorizationCodeLogin()
        return Roster(
            Backend(settings, **self.builder.parts(settings, None, self.builder.on_event)),
            partial(self._of_user, settings, itertools.count(1)),
            most=login.max_users,
            idle=login.user_idle,
        )

    def spec(self, roster: Roster, take_over: Callable[[Roster], Awaitable[None]]) -> ChildSpec:
        """Return what runs all that the users of a backend have.

        Args:
            roster: The users.
            take_over: Lets it take the place of the backend of its name.
        """
        settings = roster.stand_in.config
        children = [
            ChildSpec.for_supervisor(roster.supervisor),
            ChildSpec(id="roster", start=roster.run),
        ]
        return ChildSpec.for_supervisor(
            Supervisor(roster.name, children, strategy=Strategy.ONE_FOR_ALL),
            version=settings,
            coexists=True,
            ready=partial(take_over, roster),
            ready_timeout=settings.timeouts.start,
            drain=roster.drain,
            drain_timeout=settings.timeouts.call,
        )

    def _of_user(
        self, settings: config.Backend, numbers: itertools.count[int], user: str
    ) -> tuple[PersonalBackend, ChildSpec]:
        on_event = partial(_tell, self.builder.on_event, user)
        url = self.builder.login_url(settings.name)
        credentials = login_of_user(settings, user, self.builder.logins, url, on_event)
        parts = self.builder.parts(settings, credentials, on_event)
        backend = PersonalBackend(settings, user=user, login_url=url, **parts)
        # Names of users may be anything, so what runs is called by a number.
        supervisor = supervise(f"user-{next(numbers)}", backend, credentials)
        return backend, ChildSpec.for_supervisor(supervisor)


def _tell(on_event: Hook, user: str, event: object) -> None:
    """Tell what happens to one user's connections as that: the backend is not down for others."""
    match event:
        case BackendReady():
            event = UserConnected(event.backend, user, event.revision, event.seconds)
        case BackendDown():
            event = UserDisconnected(event.backend, user, event.reason)
    on_event(event)
