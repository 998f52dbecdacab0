"""Clients that come over HTTP."""

from __future__ import annotations

import socket

import trio

from onemcp.auth import Gate, KeyStore, local_verifier
from onemcp.config import Configuration
from onemcp.frontend import PATH, Application, LegacyFrontend, Sessions
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSpec

from . import listener as listening
from .address import Address, Overrides
from .events import AddressChanged, AddressRefused
from .front import EventHook, Replace, deadlines_of

DRAIN_POLL = 0.02
"""How often the end of all calls is looked for while stopping, in seconds."""


class HttpFront:
    """The application, the socket it is served on, and who may come in; see :class:`.Front`.

    Attributes:
        sessions: The sessions of legacy clients.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        configuration: Configuration,
        on_event: EventHook,
        *,
        keys: KeyStore | None,
        overrides: Overrides,
    ) -> None:
        """Bind the address; nothing runs yet.

        Args:
            multiplexer: What requests are dispatched to.
            configuration: What is in force.
            on_event: Takes every event.
            keys: What tokens are verified with; needed unless ``auth.mode`` is ``none``.
            overrides: What the command line says about the address.

        Raises:
            OSError: The address can't be listened on.
        """
        self._multiplexer = multiplexer
        self._on_event = on_event
        self._keys = keys
        self._overrides = overrides
        self._grace = configuration.server.shutdown_grace
        self._address = overrides.address(configuration)
        self._listener = listening.listen(self._address.host, self._address.port)
        self.sessions = Sessions(configuration.limits.sessions, deadlines_of(configuration))
        self._application = Application(
            multiplexer,
            LegacyFrontend(self.sessions, configuration.server.poll_after or None),
            self._gate(configuration),
            configuration.limits.body_bytes,
            on_event,
        )

    @property
    def url(self) -> str:
        """The address of the MCP endpoint."""
        return listening.url_of(self._listener, PATH)

    def child(self) -> ChildSpec:
        """Return what serves the socket."""
        listener, grace = self._listener, self._grace

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            self._multiplexer.resume()  # in case that this is a restart
            await listening.serve(
                self._application,
                listener,
                grace,
                lambda: self._drain(listener),
                self._on_event,
                task_status=task_status,
            )

        return ChildSpec(
            id="http",
            start=serve,
            version=listener.fileno(),
            coexists=True,
            shutdown=grace + 2 * listening.SETTLE_SECONDS,
        )

    def reconfigure(self, new: Configuration) -> None:
        """Take over everything but the address."""
        self._grace = new.server.shutdown_grace
        self._application.gate = self._gate(new)
        self._application.body_limit = new.limits.body_bytes
        self._application.legacy.poll_after = new.server.poll_after or None
        self.sessions.deadlines = deadlines_of(new)

    async def move(self, new: Configuration, replace: Replace) -> None:
        """Listen at another address, if there is one, and stop to listen at the old one."""
        address = self._overrides.address(new)
        if address == self._address:
            return
        try:
            self._listener = listening.listen(address.host, address.port)
        except OSError as error:
            self._refuse(address, error)
            return
        self._address = address
        self._application.gate = self._gate(new)
        await replace([self.child()])
        self._on_event(AddressChanged(self.url))

    def close(self) -> None:
        """Close the socket."""
        self._listener.close()

    def _refuse(self, address: Address, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._on_event(AddressRefused(address.host, address.port, reason))

    async def _drain(self, listener: socket.socket) -> None:
        """Wait until nothing is in flight, where all stops, or let the time pass elsewhere."""
        if listener is not self._listener:
            listener.close()
            await trio.sleep_forever()
        self._multiplexer.stop()
        # Stopping is too rare for the hot path to tell when the last call has ended.
        while self._multiplexer.in_flight or len(self.sessions):  # noqa: ASYNC110
            await trio.sleep(DRAIN_POLL)

    def _gate(self, configuration: Configuration) -> Gate:
        mode = configuration.auth.mode
        verifier = None
        if mode == "local":
            if self._keys is None:
                raise ValueError("auth.mode local needs keys")
            verifier = local_verifier(self._keys)
        host, _ = listening.address_of(self._listener)
        return Gate(
            mode=mode,
            verifier=verifier,
            allowed_hosts=configuration.server.allowed_hosts,
            allowed_origins=configuration.server.allowed_origins,
            bound_hosts=(host, self._address.host),
        )
