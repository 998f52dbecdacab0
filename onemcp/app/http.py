"""Clients that come over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs
import trio

from onemcp.admission import Places, Rate
from onemcp.auth import Gate
from onemcp.config import Configuration
from onemcp.frontend import (
    PATH,
    Application,
    Bounds,
    LegacyFrontend,
    OAuth,
    Operate,
    Passports,
    Route,
    SessionMemory,
    Sessions,
    TrustedProxies,
)
from onemcp.frontend.http1 import PARTING_SECONDS
from onemcp.multiplexer import Multiplexer
from onemcp.protocol.methods import CATALOGUES
from onemcp.supervision import ChildSpec
from onemcp.web import Pages

from . import listener as listening
from .access import Access
from .address import Address, Overrides
from .durable import Durable
from .events import AddressChanged, AddressRefused
from .front import EventHook, Replace, deadlines_of
from .limits import session_limits, stream_limits

if TYPE_CHECKING:
    from .upstream import UpstreamLogins

DRAIN_POLL: Final = 0.02
"""How often the end of all calls is looked for while stopping, in seconds."""

QUIET_SECONDS: Final = PARTING_SECONDS + 0.2
"""How long nothing was called when no connection can bring another call, in seconds."""


class HttpFront:
    """The application, the socket it is served on, and who may come in; see :class:`.Front`.

    Attributes:
        sessions: The sessions of legacy clients.
        stopping: Whether the whole gateway is being stopped.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        configuration: Configuration,
        on_event: EventHook,
        *,
        access: Access,
        overrides: Overrides,
        durable: Durable,
        routes: Mapping[str, Route],
    ) -> None:
        """Bind the address; nothing runs yet.

        Args:
            multiplexer: What requests are dispatched to.
            configuration: What is in force.
            on_event: Takes every event.
            access: Who may come in; prepared for the configuration.
            overrides: What is said about the address elsewhere.
            durable: What sessions outlive the process with.
            routes: What serves paths that are none of MCP's.

        Raises:
            OSError: The address can't be listened on.
        """
        self._multiplexer = multiplexer
        self._on_event = on_event
        self.stopping = False
        self._access = access
        self._configuration = configuration
        self._overrides = overrides
        self._grace = configuration.server.shutdown_grace
        self._address = overrides.address(configuration)
        self._listener = overrides.listener or listening.listen(*attrs.astuple(self._address))
        shedding = multiplexer.admission.shedding
        self.sessions = Sessions(
            session_limits(configuration),
            deadlines_of(configuration),
            passports=Passports(durable.keyring),
            memory=SessionMemory(durable.ledger, on_event),
            shedding=shedding,
            on_event=on_event,
        )
        self._application = Application(
            multiplexer,
            LegacyFrontend(self.sessions, configuration.server.poll_after or None),
            self._gate(configuration),
            Bounds(
                configuration.limits.body_bytes,
                Places(
                    "streams of events", "limits.streams", stream_limits(configuration), shedding
                ),
                Rate(configuration.limits.notifications_per_principal),
            ),
            on_event,
            routes=routes,
            proxies=_proxies(configuration),
        )
        self._logins = durable.logins
        self._upstream: UpstreamLogins | None = None
        self._open_pages()
        access.on_keys = self._renew_gate

    @property
    def url(self) -> str:
        """The address of the MCP endpoint."""
        return listening.url_of(self._listener, PATH)

    @property
    def streams(self) -> int:
        """How many streams of events are open."""
        return self._application.bounds.streams.taken

    @property
    def shed(self) -> Mapping[str, int]:
        """How much was refused for its limits since the start, by what it was."""
        bounds = self._application.bounds
        return {
            "sessions": self.sessions.places.refused,
            "streams": bounds.streams.refused,
            "notifications": bounds.notifications.refused,
        }

    def child(self) -> ChildSpec:
        """Return what serves the socket."""
        listener, grace = self._listener, self._grace

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            self._multiplexer.resume()  # in case that this is a restart
            await listening.serve(
                self._application,
                listener,
                grace,
                lambda ended: self._drain(listener, ended),
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

    async def prepare(self, new: Configuration) -> None:
        """Make sure that the gate of a new configuration can be made.

        Raises:
            ConfigurationError: It can't.
        """
        await self._access.prepare_again(new)
        self._gate(new)

    def recheck(self) -> None:
        """Let everybody see no more than their rights go by now."""
        self._application.recheck()

    def reconfigure(self, new: Configuration) -> None:
        """Take over everything but the address."""
        self._configuration = new
        self._grace = new.server.shutdown_grace
        gone = self._access.people
        self._access.reconfigure(new)
        gone -= self._access.people
        self._multiplexer.drop_users(lambda user, _: user in gone)
        self._application.gate = self._gate(new)
        self._open_pages()
        if self._upstream is not None:
            self._upstream.reconfigure(new)
        self._application.recheck()
        self._application.proxies = _proxies(new)
        self._application.legacy.poll_after = new.server.poll_after or None
        bounds = self._application.bounds
        bounds.body_bytes = new.limits.body_bytes
        bounds.streams.limits = stream_limits(new)
        bounds.notifications.per_second = new.limits.notifications_per_principal
        self.sessions.places.limits = session_limits(new)
        self.sessions.deadlines = deadlines_of(new)

    async def move(self, new: Configuration, replace: Replace) -> bool:
        """Listen at another address, if there is one, and stop to listen at the old one.

        Returns:
            Whether the address is the one that the configuration says.
        """
        address = self._overrides.address(new)
        if address == self._address or self._overrides.listener is not None:
            return True
        try:
            self._listener = listening.listen(address.host, address.port)
        except OSError as error:
            self._refuse(address, error)
            return False
        self._address = address
        self._application.gate = self._gate(new)
        await replace([self.child()])
        self._on_event(AddressChanged(self.url))
        return True

    def operate(self, operate: Operate) -> Application:
        """Let operators in, and return what serves the control socket."""
        self._application.operate = operate
        return self._application

    def close(self) -> None:
        """Close the socket."""
        self._listener.close()

    def _may_use(self, user: str, backend: str) -> bool:
        """Tell whether a user may use anything of a backend."""
        server = self._access.server
        rights = frozenset() if server is None else server.policy.rights_of(user)
        selection = self._multiplexer.granted(rights)
        return any(selection.extent(backend, kind) for kind in CATALOGUES)

    def _on_revoked(self) -> None:
        self._application.recheck()
        server = self._access.server
        if server is not None:
            records = server.ledger.records
            self._multiplexer.drop_users(lambda user, since: records.is_cut_off(user, "", since))

    def _open_pages(self) -> None:
        application, server = self._application, self._access.server
        if application.callback is None or (application.oauth is None and server is not None):
            application.callback = pages = Pages(
                lambda headers: application.gate.resource(headers, "").origin,
                server,
                self._connections,
            )
            if server is not None:
                application.oauth = OAuth(server, pages)
                server.ledger.on_change = self._on_revoked

    def _connections(self) -> UpstreamLogins | None:
        """Return the logins at backends, of which nobody hears before the first page."""
        if self._upstream is None and self._logins is not None:
            from .upstream import UpstreamLogins  # noqa: PLC0415 - httpx and all below it

            self._upstream = UpstreamLogins(
                self._logins.open(), self._configuration, self._on_event, self._may_use
            )
        return self._upstream

    def _renew_gate(self) -> None:
        self._application.gate = self._gate(self._configuration)

    def _refuse(self, address: Address, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._on_event(AddressRefused(address.host, address.port, reason))

    async def _drain(self, listener: socket.socket, ended: trio.Event) -> None:
        """Wait until nothing is in flight, or no connection left where only the address moves."""
        if listener is not self._listener:
            listener.close()
            await ended.wait()
            return
        if self.stopping:
            listener.close()  # who comes now is refused, rather than left waiting in its queue
        self._multiplexer.end_subscriptions()
        try:
            await self._wait_quiet(ended)
            self._multiplexer.stop()
            await self._wait_idle()
        finally:
            self._multiplexer.stop()  # where the grace period has ended before
            if self.stopping:
                self._multiplexer.abandon("onemcp is being stopped")

    async def _wait_quiet(self, ended: trio.Event) -> None:
        """Serve what the connections that there are still bring.

        They end with their next answer. What holds one open without calling anything, such as a
        stream of events, is not waited for.
        """
        last = trio.current_time()
        while not ended.is_set() and trio.current_time() < last + QUIET_SECONDS:
            if self._multiplexer.in_flight:
                last = trio.current_time()
            with trio.move_on_after(DRAIN_POLL):
                await ended.wait()

    async def _wait_idle(self) -> None:
        # Stopping is too rare for the hot path to tell when the last call has ended.
        while self._multiplexer.in_flight or len(self.sessions):  # noqa: ASYNC110
            await trio.sleep(DRAIN_POLL)

    def _gate(self, configuration: Configuration) -> Gate:
        host, _ = listening.address_of(self._listener)
        return self._access.gate(configuration, (host, self._address.host))


def _proxies(configuration: Configuration) -> TrustedProxies | None:
    server = configuration.server
    if not server.trusted_proxies:
        return None
    return TrustedProxies(server.trusted_proxies, server.forwarded_header.lower().encode())
