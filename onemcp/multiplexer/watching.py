"""What is asked and answered, for whoever wants to know: spans for traces, bodies for the log.

Theory of operation: nearly always nobody does, and `View.dispatch` passes a request on as it is.
Otherwise a :class:`Watch` begins with each request and ends with its answer, or with whatever
comes in the way of one; the reply is wrapped, so that whoever receives from it need not know.
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
from onemcp.telemetry import Span, Tracer, described, scrub_text

from .reply import Reply

if TYPE_CHECKING:
    from .view import View

LONGEST_ID: Final = 64
LONGEST_URI: Final = 256
"""How much is told of what clients may make as long as they like, in characters."""

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
        context = tracecontext.context_of(params)
        span: Span | None = None
        if self.tracer.take is not None and (context is None or context.is_sampled):
            known, context = context, self.tracer.begin(context)
            if context.is_sampled:
                name, attributes = described(
                    request.method, params, is_known=_is_known(view, request.method, params)
                )
                attributes.update(_attributes(request, params, caller))
                parent = None if known is None else known.span_id
                take = self.tracer.take
                span = Span(name, request.method, context, parent, attributes, take=take)
            else:  # so that nobody further on begins a trace of their own
                params = tracecontext.with_context(params, context)
        trace = None if context is None else context.trace_id
        about = About(request.id, request.method, caller.principal, caller.session, trace)
        if self.transcript is not None:
            self.transcript.asked(about, request.params)
        return Watch(about, params, span, self.transcript)


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

    def saw(self, message: Incoming) -> None:
        """Take note of what the client gets."""
        if self._transcript is not None:
            self._transcript.said(self.about, message)
        if self.span is not None and isinstance(message, Response | Failure):
            self.span.answer(message)

    def failed(self, failure: type[BaseException]) -> None:
        """Take note that nothing more comes; of no matter where the answer has come."""
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
        message = await self._reply.receive()
        self._watch.saw(message)
        return message

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        return self._reply.answer(answer)

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
        "jsonrpc.request.id": str(request.id)[:LONGEST_ID],
        "mcp.protocol.version": caller.revision,
    }
    if caller.session is not None:
        found["mcp.session.id"] = caller.session
    uri = value_of(params, "uri", str) if NAMED.get(request.method) == "uri" else None
    if uri:
        path = uri.partition("?")[0].partition("#")[0]  # what follows is where secrets are
        found["mcp.resource.uri"] = scrub_text(path[:LONGEST_URI])
    return found
