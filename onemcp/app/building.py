"""How the backends of a gateway are made: each with its login, its connections and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from onemcp import config
from onemcp.backend import (
    Backend,
    BackendObserver,
    Identity,
    Replica,
    ReplicatedBackend,
    StartQueue,
    redactor_for,
)
from onemcp.pinning import Pins
from onemcp.supervision import Supervisor

from .connecting import Connector, stop_seconds
from .durable import LoginPlace
from .front import EventHook
from .logins import credentials_for
from .personal import PersonalBackends
from .replicas import ReplicaSet
from .trees import runs_program, supervise

if TYPE_CHECKING:
    from onemcp.backend.oauth import Credentials


@attrs.frozen
class Builder:
    """Makes backends.

    Attributes:
        connector: Makes their connections.
        observer: Whom to tell of changes.
        identity: Who onemcp is towards them.
        logins: Where the logins that people have made are, or None where there is nowhere.
        pins: Returns what was approved of a backend.
        starts: Where programs wait for their turns to start.
        login_url: Tells where users can log in at a backend, if there is a page for it.
        on_event: Takes what happens.
    """

    connector: Connector
    observer: BackendObserver
    identity: Identity
    logins: LoginPlace | None
    pins: Callable[[str], Pins]
    starts: StartQueue
    login_url: Callable[[str], str | None]
    on_event: EventHook

    @property
    def personal(self) -> PersonalBackends:
        """What makes backends that each user has for themselves."""
        return PersonalBackends(self)

    def build(self, settings: config.Backend) -> tuple[Backend, Supervisor]:
        """Make a backend that all users share, and what runs it."""
        credentials = self._credentials(settings)
        backend = Backend(settings, **self.parts(settings, credentials, self.on_event))
        return backend, supervise(settings.name, backend, credentials)

    def replicate(self, settings: config.Backend) -> ReplicaSet:
        """Make a backend of which there are several, and what runs them."""
        whole = ReplicatedBackend(
            settings,
            observer=self.observer,
            identity=self.identity,
            on_event=self.on_event,
            pins=self.pins(settings.name),
        )
        return ReplicaSet(settings, whole, self._replica)

    def _replica(
        self, settings: config.Backend, key: str, whole: ReplicatedBackend
    ) -> tuple[Replica, Supervisor]:
        credentials = self._credentials(settings)
        own = self._own(settings, credentials, partial(whole.told, key))
        replica = Replica(settings, key=key, whole=whole, **own)
        return replica, supervise(key, replica, credentials)

    def _credentials(self, settings: config.Backend) -> Credentials | None:
        return credentials_for(settings, self.logins, self.on_event)

    def parts(
        self, settings: config.Backend, credentials: Credentials | None, on_event: EventHook
    ) -> dict[str, Any]:
        """Return what a backend is made of, whoever has it; see `Backend`.

        Args:
            settings: How it is configured.
            credentials: How onemcp logs in at it, if it does.
            on_event: Takes what happens; secrets are taken out before.
        """
        own = self._own(settings, credentials, on_event)
        return {"observer": self.observer, "identity": self.identity, **own}

    def _own(
        self, settings: config.Backend, credentials: Credentials | None, on_event: EventHook
    ) -> dict[str, Any]:
        """Return what every backend has for itself, replica or not."""
        redact = redactor_for(settings.transport, credentials, self.connector.instance.environ)
        return {
            "connect": self.connector,
            "on_event": redact.passing_on(on_event),
            "credentials": credentials,
            "shutdown": stop_seconds(settings.timeouts),
            "starts": self.starts if runs_program(settings) else None,
            "pins": self.pins(settings.name),
        }
