"""Finding out which era a backend speaks, and agreeing on a revision with it.

Implements 2026-07-28, stdio and Streamable HTTP, Backward Compatibility, and the ``initialize``
handshake of earlier revisions (2025-11-25, Lifecycle).
"""

from __future__ import annotations

import math
from typing import Any, Final, Protocol

import attrs
import trio
from msgspec import Raw

from onemcp.protocol import meta
from onemcp.protocol.errors import (
    MODERN_ERRORS,
    UNSUPPORTED_PROTOCOL_VERSION,
    InvalidParams,
    RemoteError,
)
from onemcp.protocol.fields import Fields, plain, raw, split
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.methods import DISCOVER, INITIALIZE, INITIALIZED
from onemcp.protocol.revisions import (
    LATEST_LEGACY,
    LATEST_MODERN,
    LEGACY_REVISIONS,
    MODERN_REVISIONS,
    Era,
    era_of,
)
from onemcp.protocol.tasks import EXTENSION

from .attribution import INTERNAL
from .call import Call, Caller
from .connection import HandshakeFailed, ServerDescription
from .exchange import Answer, Exchange

_APPS: Final = {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
"""MCP Apps: many servers have tools with a face only for clients that declare it."""

CAPABILITIES: Final = {
    "elicitation": {"form": {}, "url": {}},
    "extensions": _APPS,
    "roots": {"listChanged": True},
    "sampling": {"context": {}, "tools": {}},
    "tasks": {
        "cancel": {},
        "list": {},
        "requests": {"elicitation": {"create": {}}, "sampling": {"createMessage": {}}},
    },
}
"""What onemcp declares to legacy backends: everything that some client of it may be able to do."""

OWN_ABILITIES: Final = raw({"extensions": {**_APPS, EXTENSION: {}}})
"""What it declares to modern backends on requests of its own, which are lists and subscriptions."""

_LEGACY: Final = frozenset(LEGACY_REVISIONS)


@attrs.define
class EraMemory:
    """What earlier connections have found out, kept by the backend across restarts.

    Attributes:
        era: The era found last, or None while nothing is known.
        sse: Whether it was reached over HTTP+SSE last.
    """

    era: Era | None = None
    sse: bool = False


@attrs.frozen
class Terms:
    """How to talk to a backend for the first time.

    Attributes:
        pin: ``auto``, an era, or a revision, as configured.
        identity: onemcp's own name and version.
        probe: How long to wait for an answer to the probe, in seconds.
        memory: What is known from earlier connections.
    """

    pin: str
    identity: Raw
    probe: float
    memory: EraMemory

    @property
    def era(self) -> Era | None:
        """The era to speak without probing, or None to find out."""
        if self.pin == "auto":
            return self.memory.era
        return Era(self.pin) if self.pin in {"modern", "legacy"} else era_of(self.pin)

    @property
    def modern(self) -> str:
        """The modern revision to offer first."""
        return self.pin if self.pin in MODERN_REVISIONS else LATEST_MODERN

    @property
    def legacy(self) -> str:
        """The legacy revision to offer."""
        return self.pin if self.pin in LEGACY_REVISIONS else LATEST_LEGACY

    def caller(self, revision: str) -> Caller:
        """Onemcp itself, as the client of a backend."""
        return Caller(INTERNAL, INTERNAL, revision, client_info=self.identity)


class Dialogue(Protocol):
    """What the handshake needs of a connection."""

    def open_as(self, call: Call, revision: str) -> Exchange:
        """Send a request in a revision that has not been agreed on yet."""

    def forget(self, exchange: Exchange) -> None:
        """Drop a request without telling the backend, which may not know cancellation."""

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification."""


async def negotiate(dialogue: Dialogue, terms: Terms) -> ServerDescription:
    """Agree on a revision.

    Returns:
        What the backend says about itself.

    Raises:
        HandshakeFailed: It speaks no revision that onemcp does, or answers nonsense.
    """
    try:
        description = await _agree(dialogue, terms)
    except InvalidParams as error:
        raise HandshakeFailed(f"it answered the handshake with nonsense: {error}") from error
    terms.memory.era = description.era
    return description


async def _agree(dialogue: Dialogue, terms: Terms) -> ServerDescription:
    era = terms.era
    # What was remembered may not hold any more: without an agreement, probe again next time.
    # A program that exits when it is probed is handshaken with at its next start.
    terms.memory.era = Era.LEGACY if era is None else None
    if era is Era.LEGACY:
        return await _initialize(dialogue, terms)
    probe = _probe(dialogue, terms, terms.modern)
    try:
        answer: Answer | None = None
        with trio.move_on_after(terms.probe if terms.pin == "auto" else math.inf):
            answer = await answer_of(probe)
        description = None if answer is None else await _judge(dialogue, terms, answer)
        if description is not None:
            return description
        if terms.pin != "auto":
            raise HandshakeFailed(
                f"it doesn't speak {terms.modern}, which the configuration pins; "
                'set "protocol" to "auto" or "legacy"'
            )
        try:
            return await _initialize(dialogue, terms)
        except HandshakeFailed as refused:
            if answer is not None:
                raise
            return await _late(dialogue, terms, probe, refused)
    finally:
        dialogue.forget(probe)


def _probe(dialogue: Dialogue, terms: Terms, revision: str) -> Exchange:
    return dialogue.open_as(Call(DISCOVER, {}, terms.caller(revision)), revision)


async def _late(
    dialogue: Dialogue, terms: Terms, probe: Exchange, refused: HandshakeFailed
) -> ServerDescription:
    """Take a modern backend that was slow to start, so that both methods were put to it."""
    description = None
    with trio.move_on_after(terms.probe):
        description = await _judge(dialogue, terms, await answer_of(probe))
    if description is None:
        raise refused
    return description


async def _judge(
    dialogue: Dialogue, terms: Terms, answer: Answer, *, again: bool = True
) -> ServerDescription | None:
    """Tell what the answer to a probe means; None for a legacy backend."""
    if isinstance(answer, Response):
        return _described(answer.result)
    error = RemoteError(answer.error)
    if error.code not in MODERN_ERRORS:
        return None
    supported = _supported(answer.error)
    if error.code != UNSUPPORTED_PROTOCOL_VERSION or not supported:
        raise HandshakeFailed(f"it refused server/discover: {error.message}")
    common = _common(supported)
    if common is not None and again:
        exchange = _probe(dialogue, terms, common)
        return await _judge(dialogue, terms, await answer_of(exchange), again=False)
    if not _LEGACY.isdisjoint(supported):
        return None
    raise HandshakeFailed(f"it speaks {', '.join(supported[:8])}, none of which onemcp does")


def _supported(error: Raw) -> list[str]:
    fields = plain(error)
    data = fields.get("data") if isinstance(fields, dict) else None
    supported = data.get("supported") if isinstance(data, dict) else None
    return [str(version) for version in supported] if isinstance(supported, list) else []


def _common(supported: list[str]) -> str | None:
    return next((version for version in reversed(MODERN_REVISIONS) if version in supported), None)


def _described(result: Raw) -> ServerDescription | None:
    fields = split(result, "the result of server/discover")
    supported = plain(fields.get("supportedVersions"))
    if not isinstance(supported, list):
        return None  # a legacy server that answers whatever it is asked
    revision = _common(supported)
    if revision is None:
        if _LEGACY.isdisjoint(map(str, supported)):
            raise HandshakeFailed(f"it speaks {supported[:8]}, none of which onemcp does")
        return None
    info = meta.meta_of(fields).get(meta.SERVER_INFO)
    return _description(revision, fields, info)


async def _initialize(dialogue: Dialogue, terms: Terms) -> ServerDescription:
    params = {
        "protocolVersion": raw(terms.legacy),
        "capabilities": raw(CAPABILITIES),
        "clientInfo": terms.identity,
    }
    call = Call(INITIALIZE, params, terms.caller(terms.legacy))
    answer = await answer_of(dialogue.open_as(call, terms.legacy))
    if isinstance(answer, Failure):
        raise HandshakeFailed(f"it refused initialize: {RemoteError(answer.error).message}")
    fields = split(answer.result, "the result of initialize")
    revision = plain(fields.get("protocolVersion"))
    if revision not in LEGACY_REVISIONS:
        raise HandshakeFailed(
            f"it answered initialize with revision {str(revision)[:40]!r}, "
            f"which onemcp doesn't speak ({', '.join(LEGACY_REVISIONS)})"
        )
    dialogue.notify(INITIALIZED, {})
    return _description(revision, fields, fields.get("serverInfo"))


def _description(revision: str, fields: Fields, info: Raw | None) -> ServerDescription:
    capabilities: Any = plain(fields.get("capabilities"))
    instructions = plain(fields.get("instructions"))
    return ServerDescription(
        revision,
        capabilities if isinstance(capabilities, dict) else {},
        info if isinstance(plain(info), dict) else None,
        instructions if isinstance(instructions, str) else None,
    )


async def answer_of(exchange: Exchange) -> Answer:
    """Wait for the answer of an exchange, passing over whatever comes before it."""
    while True:
        message = await exchange.receive()
        if isinstance(message, Response | Failure):
            return message
