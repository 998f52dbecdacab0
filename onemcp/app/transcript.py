"""What clients send and get, for the log alone: nothing keeps it, and nothing counts it."""

from __future__ import annotations

from typing import Final

import attrs
from msgspec import Raw

from onemcp.backend import Incoming
from onemcp.multiplexer import About
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.telemetry import BodyScrubber, Scrubbed

from .front import EventHook

FROM_CLIENT: Final = "from_client"
TO_CLIENT: Final = "to_client"


@attrs.frozen
class BodiesLogged:
    """Parameters and results are written to the log, because the configuration says so."""


@attrs.frozen
class MessageSeen:
    """A client has sent something, or gets something, for one of its requests.

    Attributes:
        way: Whether it comes from the client or goes to it.
        kind: What it is: a request, an answer, or what comes before one.
        method: What the client has called.
        request: The id of its request.
        principal: Who it is.
        session: What its session is called, or None.
        trace: The trace that it is part of, or None.
        body: What it says, without what looks secret.
    """

    way: str
    kind: str
    method: str
    request: RequestId
    principal: str
    session: str | None
    trace: str | None
    body: Scrubbed


@attrs.frozen
class BodyLog:
    """Tells of bodies; see :class:`.multiplexer.Transcript`."""

    _on_event: EventHook
    _scrubber: BodyScrubber

    def asked(self, about: About, params: Raw) -> None:
        """Tell what a client has sent."""
        self._tell(FROM_CLIENT, "request", about, params)

    def said(self, about: About, message: Incoming) -> None:
        """Tell what it gets."""
        match message:
            case Response():
                self._tell(TO_CLIENT, "result", about, message.result)
            case Failure():
                self._tell(TO_CLIENT, "error", about, message.error)
            case Request():
                self._tell(TO_CLIENT, message.method, about, message.params)
            case Notification():
                self._tell(TO_CLIENT, message.method, about, message.params)

    def _tell(self, way: str, kind: str, about: About, body: Raw) -> None:
        self._on_event(
            MessageSeen(
                way,
                kind,
                about.method,
                about.request,
                about.principal,
                about.session,
                about.trace,
                self._scrubber.show(bytes(body)),
            )
        )
