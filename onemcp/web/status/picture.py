"""What the status page shows at one moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from onemcp.frontend import Sessions
from onemcp.monitor import Health
from onemcp.multiplexer import Multiplexer, Parking
from onemcp.protocol.fields import plain
from onemcp.supervision import ChildSnapshot
from onemcp.telemetry import described

from .drawing import Drawing, draw
from .history import Incident

if TYPE_CHECKING:
    from .page import StatusPage

MOST_ROWS: Final = 50
"""How many calls, parked calls, sessions, or children of one supervisor are shown."""


@attrs.frozen
class Card:
    """One backend.

    Attributes:
        name: Its name.
        state: How it is.
        told: What :class:`.Control` tells of it.
        required: Whether the gateway is ready only while it is up.
        waiting: How many calls wait for an instance of it.
        drawing: What has been.
    """

    name: str
    state: str
    told: dict[str, Any]
    required: bool
    waiting: int
    drawing: Drawing

    @property
    def actions(self) -> Sequence[str]:
        """What may be done with it."""
        match self.state:
            case "disabled":
                return ()
            case "stopped":
                return ("start",)
            case "paused" | "restarting":
                return ("start", "restart", "stop")
        return ("restart", "stop")


@attrs.frozen
class CallRow:
    """A call that waits for its server.

    Attributes:
        backend: The backend.
        call: What is called: the method, and of tools and prompts which one, as their server
            names it. Never with what.
        principal: Whose call it is.
        seconds: How long it has taken so far, in seconds.
    """

    backend: str
    call: str
    principal: str
    seconds: float


@attrs.frozen
class ParkedRow:
    """A call that waits for its client.

    Attributes:
        method: What was called.
        backend: The backend that asks something.
        principal: Whose call it is.
        seconds: How long it has waited, in seconds.
        questions: How many questions are open.
    """

    method: str
    backend: str
    principal: str
    seconds: float
    questions: int


@attrs.frozen
class SessionRow:
    """A session of a legacy client.

    Attributes:
        client: What the client calls itself.
        principal: Who it is.
        revision: The revision agreed on.
        in_flight: How many of its requests are in flight.
        seconds: How long it has lasted here, in seconds.
    """

    client: str
    principal: str
    revision: str
    in_flight: int
    seconds: float


@attrs.frozen
class Picture:
    """Everything.

    Attributes:
        now: When it was taken, in seconds since the epoch.
        health: How the gateway is.
        status: What :class:`.Control` tells of it.
        cards: The backends, in the order of the configuration.
        incidents: What has happened, the latest first.
        calls: Calls that wait for their servers, those that take longest first.
        waiting: How many there are of these.
        parked: Calls that wait for their clients.
        sessions: Sessions of legacy clients.
    """

    now: float
    health: Health
    status: dict[str, Any]
    cards: tuple[Card, ...]
    incidents: Sequence[Incident]
    calls: Sequence[CallRow]
    waiting: int
    parked: Sequence[ParkedRow]
    sessions: Sequence[SessionRow]

    @property
    def names(self) -> str:
        """The names of all backends; where they are others, the page has to be loaded anew."""
        return " ".join(card.name for card in self.cards)


def look(page: StatusPage) -> Picture:
    """Look at a gateway."""
    gateway, status = page.gateway, page.control.status()
    return Picture(
        time.time(),
        health := Health.of(gateway),
        status,
        tuple(_cards(page, status["backends"], health)),
        page.history.incidents,
        *call_rows(gateway.multiplexer),
        tuple(parked_rows(gateway.multiplexer.parking)),
        tuple(session_rows(gateway.sessions)),
    )


def _cards(page: StatusPage, told: Sequence[dict[str, Any]], health: Health) -> Iterator[Card]:
    judged = {each.name: each for each in health.backends}
    for each in told:
        name = each["name"]
        known = judged.get(name)
        yield Card(
            name,
            each["state"],
            each,
            known is not None and known.required,
            0 if known is None else known.waiting,
            draw(page.history.of(name)),
        )


def call_rows(multiplexer: Multiplexer) -> tuple[Sequence[CallRow], int]:
    """Return the calls that wait for their servers, as far as they are shown, and how many do."""
    waiting = (child.value for child in multiplexer.parking.supervisor.snapshot().children)
    parked = {id(call.inquiry.exchange) for call in waiting if call is not None}
    now, rosters = trio.current_time(), multiplexer.rosters.values()
    calls = [
        (exchange.since, backend.name, exchange.call)
        for backend in chain(multiplexer.backends.values(), *rosters)
        for exchange in backend.calls
        if id(exchange) not in parked
    ]
    rows = [
        CallRow(
            name,
            described(call.method, call.params)[0],
            call.caller.principal,
            max(0.0, now - since),
        )
        for since, name, call in nsmallest(MOST_ROWS, calls, key=itemgetter(0))
    ]
    return rows, len(calls)


def parked_rows(parking: Parking) -> Iterator[ParkedRow]:
    """Return the calls that wait for their clients, as far as they are shown."""
    snapshot = parking.supervisor.snapshot()
    for child in snapshot.children[:MOST_ROWS]:
        if child.value is not None:
            inquiry = child.value.inquiry
            yield ParkedRow(
                inquiry.method,
                inquiry.backend.name,
                inquiry.caller.principal,
                _seconds(child, snapshot.at),
                len(inquiry.waiting),
            )


def session_rows(sessions: Sessions) -> Iterator[SessionRow]:
    """Return the sessions of legacy clients, as far as they are shown."""
    snapshot = sessions.supervisor.snapshot()
    for child in snapshot.children[:MOST_ROWS]:
        session = child.value
        if session is not None:
            yield SessionRow(
                _client(session.opening.client_info),
                session.opening.principal,
                session.opening.revision,
                session.in_flight,
                _seconds(child, snapshot.at),
            )


def _seconds(child: ChildSnapshot, at: float) -> float:
    return max(0.0, at - child.since)


def _client(info: Any) -> str:
    said = None if info is None else plain(info)
    if not isinstance(said, dict):
        return "unknown"
    return f"{said.get('name', 'unknown')} {said.get('version', '')}".strip()
