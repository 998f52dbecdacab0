"""What is asked and answered, for whoever wants to know: spans to trace and measure, bodies to log.

Theory of operation: nearly always nobody does, and `View.dispatch` passes a request on as it is.
Otherwise a :class:`Watch` begins with each request and ends with its answer, or with whatever
comes in the way of one; the reply is wrapped, so that whoever receives from it need not know. What
isn't dispatched, because it is about the client's session alone, is watched by whoever serves it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import attrs
from msgspec import Raw

from onemcp.backend import Answer, Caller, Incoming
from onemcp.protocol import tracecontext
from onemcp.protocol.errors import ProtocolError, RequestCancelled
from onemcp.protocol.fields import Fields, value_of
from onemcp.protocol.jsonrpc import Failure, Request, RequestId, Response
from onemcp.protocol.methods import NAMED, PROMPTS, PROMPTS_GET, TOOLS, TOOLS_CALL
from onemcp.telemetry import (
    LONGEST_ID,
    REQUEST_ID,
    REVISION,
    SESSION,
    Questioned,
    Span,
    Tracer,
    described,
    scrub_text,
)

from .reply import Reply

if TYPE_CHECKING:
    from .view import View

LONGEST_URI: Final = 256
"""How much is told of URIs, which may be as long as one likes, in characters."""

_LISTED: Final = {TOOLS_CALL: TOOLS, PROMPTS_GET: PROMPTS}


@attrs.frozen
class About:
    """Which request something belongs to.

    Attributes:
        request: Its id.
        method: What was called.
        principal: Who has sent it.
        session: What its session is called, or None.
        trace: The trace that it is part of, or None.
    """

    request: RequestId
    method: str
    principal: str
    session: str | None
    trace: str | None


class Transcript(Protocol):
    """Takes bodies. Called synchronously; must not block or raise."""

    def asked(self, about: About, params: Raw) -> None:
        """Take what a client has sent."""

    def said(self, about: About, message: Incoming) -> None:
        """Take what it is answered, told or asked."""


@attrs.frozen
class Watcher:
    """Watches requests.

    Attributes:
        tracer: Begins their spans.
        transcript: Takes their bodies, or None.
    """

    tracer: Tracer
    transcript: Transcript | None = None

    def watch(self, view: View, request: Request, params: Fields, caller: Caller) -> Watch:
        """Watch what becomes of a request.

        Raises:
            InvalidParams: Its ``_meta`` is malformed.
        """
        known, tracer = tracecontext.context_of(params), self.tracer
        context = None if tracer.take is None else tracer.begin(known)
        span: Span | None = None
        if tracer.wants(context):
            is_known = _is_known(view, request.method, params)
            name, attributes = described(request.method, params, is_known=is_known)
            attributes.update(_attributes(request, params, caller))
            span = Span(
                name,
                request.method,
                context,
                None if known is None or context is None else known.span_id,
                attributes,
                has_remote_parent=known is not None,
                tracer=tracer,
            )
        elif context is not None and known is None:  # so that nobody further on begins a trace
            params = tracecontext.with_context(params, context)
        context = context or known
        trace = None if context is None else context.trace_id
        about = About(request.id, request.method, caller.principal, caller.session, trace)
        if self.transcript is not None:
            self.transcript.asked(about, request.params)
        asked = None if span is None else Questioned(span, "client", tells=True)
        return Watch(about, params, span, self.transcript, asked)


@attrs.frozen
class Watch:
    """What becomes of one request; a context manager around what serves it.

    Attributes:
        about: Which one.
        params: Its parameters.
        span: Its span, or None where it has none.
    """

    about: About
    params: Fields
    span: Span | None
    _transcript: Transcript | None
    _questioned: Questioned | None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ProtocolError):
            self.saw(Failure(self.about.request, error.error))
        elif kind is not None:
            self.failed(kind)

    def over(self, reply: Reply) -> Reply:
        """Return a reply that is watched, where anything is to be seen of it."""
        if self.span is None and self._transcript is None:
            return reply
        return WatchedReply(reply, self)

    def of_session(self, name: str) -> None:
        """Take note of the session that has been opened."""
        if self.span is not None:
            self.span.attributes[SESSION] = name

    def saw(self, message: Incoming) -> Incoming:
        """Take note of what the client gets, and return it as the client is to get it."""
        if self._transcript is not None:
            self._transcript.said(self.about, message)
        if self.span is None or self._questioned is None:
            return message
        if isinstance(message, Response | Failure):
            self._questioned.end()
            self.span.answer(message)
            return message
        return self._questioned.passing(message)

    def answered(self, answer: Answer) -> None:
        """Take note of the client's answer to a question."""
        if self._questioned is not None:
            self._questioned.answered(answer)

    def failed(self, failure: type[BaseException]) -> None:
        """Take note that nothing more comes; of no matter where the answer has come."""
        if self._questioned is not None:
            self._questioned.end()
        if self.span is not None:
            self.span.fail(failure)


class WatchedReply:
    """A reply that somebody else looks at too; see :class:`.reply.Reply`."""

    __slots__ = ("_reply", "_watch")

    def __init__(self, reply: Reply, watch: Watch) -> None:
        """Pass on what comes of `reply`."""
        self._reply = reply
        self._watch = watch

    async def receive(self) -> Incoming:
        """Wait for the next message."""
        return self._watch.saw(await self._reply.receive())

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        is_taken = self._reply.answer(answer)
        if is_taken:
            self._watch.answered(answer)
        return is_taken

    def close(self) -> None:
        """Stop caring."""
        self._reply.close()
        self._watch.failed(RequestCancelled)

    def __repr__(self) -> str:
        return f"<WatchedReply {self._reply!r}>"


def _is_known(view: View, method: str, params: Fields) -> bool:
    """Tell whether there is what a request names."""
    kind = _LISTED.get(method)
    name = None if kind is None else value_of(params, "name", str)
    return (
        kind is not None and name is not None and view.contents.table.route(kind, name) is not None
    )


def _attributes(request: Request, params: Fields, caller: Caller) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        REQUEST_ID: str(request.id)[:LONGEST_ID],
        REVISION: caller.revision,
    }
    if caller.session is not None:
        found[SESSION] = caller.session
    uri = value_of(params, "uri", str) if NAMED.get(request.method) == "uri" else None
    if uri:
        path = uri.partition("?")[0].partition("#")[0]  # what follows is where secrets are
        found["mcp.resource.uri"] = scrub_text(path[:LONGEST_URI])
    return found
