"""How the backends of a gateway are made: each with its login, its connections and what runs it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from onemcp import config
from onemcp.backend import Backend, BackendObserver, Identity, StartQueue, redactor_for
from onemcp.pinning import Pins
from onemcp.supervision import Supervisor

from .connecting import Connector, stop_seconds
from .durable import LoginPlace
from .front import EventHook
from .logins import credentials_for
from .personal import PersonalBackends
from .trees import runs_program, supervise


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
        return PersonalBackends(
            self.connector,
            self.observer,
            self.identity,
            self.logins,
            self.pins,
            self.connector.instance.environ,
            self.login_url,
            self.on_event,
        )

    def build(self, settings: config.Backend) -> tuple[Backend, Supervisor]:
        """Make a backend that all users share, and what runs it."""
        credentials = credentials_for(settings, self.logins, self.on_event)
        redact = redactor_for(settings.transport, credentials, self.connector.instance.environ)
        backend = Backend(
            settings,
            connect=self.connector,
            observer=self.observer,
            identity=self.identity,
            on_event=redact.passing_on(self.on_event),
            credentials=credentials,
            shutdown=stop_seconds(settings.timeouts),
            starts=self.starts if runs_program(settings) else None,
            pins=self.pins(settings.name),
        )
        return backend, supervise(settings.name, backend, credentials)
