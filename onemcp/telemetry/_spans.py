"""Spans: what was done for a request, by whom it was asked for, and how long it took.

Implements the semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai,
``docs/gen-ai/mcp.md``), the sampling of its SDK (parent-based, then by a ratio of the trace ids),
and W3C Trace Context, section 3.4.

Theory of operation: a span is made for a request that is sampled, or while requests are measured,
and for no other, so that a request without one costs a comparison. It is handed to the call that
comes of the request, and whoever sends that to a backend begins another one under it. What a
backend asks in the course of its call has spans of its own, in :class:`.Questioned`. When a span is
over it goes to whoever takes spans or measures them, which must neither block nor raise. There are
no ambient spans: what belongs to which request is said by arguments alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from onemcp.protocol import tracecontext
from onemcp.protocol.errors import InvalidParams, RemoteError
from onemcp.protocol.fields import MALFORMED, Fields, split, value_of
from onemcp.protocol.jsonrpc import Failure, Request, Response
from onemcp.protocol.methods import PROMPTS_GET, REQUESTS, TOOLS_CALL
from onemcp.protocol.tracecontext import TraceContext

from ._failures import kind_of

SpanKind: TypeAlias = Literal["server", "client"]
Attributes: TypeAlias = Mapping[str, str | int]

OTHER: Final = "other"
"""Stands for every method that is not known here."""

METHOD: Final = "mcp.method.name"
ERROR: Final = "error.type"
STATUS: Final = "rpc.response.status_code"
TOOL_ERROR: Final = "tool_error"

TARGETS: Final = {TOOLS_CALL: "gen_ai.tool.name", PROMPTS_GET: "gen_ai.prompt.name"}
REVISION: Final = "mcp.protocol.version"
SESSION: Final = "mcp.session.id"
REQUEST_ID: Final = "jsonrpc.request.id"

LONGEST_ID: Final = 64
"""How much is told of ids, which may be as long as one likes, in characters."""

_OF_PEER: Final = (
    REVISION,
    SESSION,
    "network.transport",
    "network.protocol.name",
    "onemcp.backend",
)
"""What is as true of a question as of the request in the course of which it is asked."""

_NO_ERRORS: Final = frozenset({-32700, -32600, -32601, -32602, -32002})
"""What says that the one who asks is wrong: of whoever answers so it is no error."""

_RATIO_BITS: Final = 64


class _ToolResult(msgspec.Struct):
    isError: bool = False  # noqa: N815 - as it is on the wire


_TOOL_RESULT: Final = msgspec.json.Decoder(_ToolResult)


class Tracer:
    """Begins spans, for as long as somebody wants them.

    Attributes:
        take: Takes the spans of traces that are taken, once they are over; None while nobody
            wants any: then what requests say of their traces passes unchanged.
        measure: Takes every span that is over, to measure it; None while nobody does.
        ratio: Which part of the traces that begin here is taken, from 0 to 1; what began
            elsewhere is taken if it was there.
    """

    def __init__(self) -> None:
        """Begin with nobody who wants spans."""
        self.take: Callable[[Span], object] | None = None
        self.measure: Callable[[Span], object] | None = None
        self.ratio = 1.0

    @property
    def is_on(self) -> bool:
        """Whether anybody wants spans."""
        return self.take is not None or self.measure is not None

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """Return the context of what is done for a request.

        Args:
            parent: What the request says of its own context; None begins another trace.
        """
        if parent is not None:
            return attrs.evolve(parent, span_id=secrets.token_hex(8))
        trace_id = secrets.token_hex(16)
        is_taken = int(trace_id, 16) & ((1 << _RATIO_BITS) - 1) < self.ratio * (1 << _RATIO_BITS)
        return TraceContext(trace_id, secrets.token_hex(8), TraceContext.SAMPLED * is_taken)

    def wants(self, context: TraceContext | None) -> bool:
        """Tell whether a span is to be made.

        Args:
            context: Its place in its trace; None while there are no traces.
        """
        return self.measure is not None or (context is not None and context.is_sampled)

    def over(self, span: Span) -> None:
        """Hand over a span that is over."""
        if self.measure is not None:
            self.measure(span)
        if self.take is not None and span.context is not None and span.context.is_sampled:
            self.take(span)

    def __repr__(self) -> str:
        return f"<Tracer {'on' if self.is_on else 'off'} ratio={self.ratio:g}>"


@attrs.define(eq=False, repr=False)
class Span:
    """What was done for a request: by onemcp, or by a backend or a client that it has asked.

    Attributes:
        name: What it is shown as; of these there are few.
        method: What was asked for.
        context: Its own place in its trace; None while there are no traces, but measures.
        parent_id: The span that it is part of, or None.
        attributes: What is known of it; never what was sent or answered.
        request: The span of the client's request, where this is another one's.
        kind: Whether it is about what onemcp was asked, or about what it has asked.
        has_remote_parent: Whether the span that it is part of is not onemcp's own.
        started: When it began, in nanoseconds since the epoch.
        seconds: How long it took; None as long as it goes on.
    """

    name: str
    method: str
    context: TraceContext | None
    parent_id: str | None
    attributes: dict[str, str | int]
    request: Span | None = None
    kind: SpanKind = "server"
    has_remote_parent: bool = False
    started: int = attrs.field(factory=time.time_ns)
    seconds: float | None = None
    _tracer: Tracer = attrs.field(kw_only=True)
    _begun: float = attrs.field(factory=time.perf_counter, init=False)

    @property
    def failure(self) -> str | None:
        """What it has failed with, or None."""
        found = self.attributes.get(ERROR)
        return None if found is None else str(found)

    def to_backend(self, method: str, params: Fields, about: Attributes) -> Span:
        """Begin the span of what a backend is asked for the same client's request.

        Args:
            method: What is called.
            params: Its parameters, in the backend's own names.
            about: What is known of the backend.
        """
        request = self if self.request is None else self.request
        name, attributes = described(method, params)
        attributes |= about
        return request._under(None, "client", name, method, attributes)  # noqa: SLF001 - its own

    def of_question(self, kind: SpanKind, question: Request) -> Span | None:
        """Begin the span of what is asked in the course of what this one is about.

        Args:
            kind: Whether onemcp is asked, or asks.
            question: What is asked. It may say itself which span it is part of.

        Returns:
            None where its trace is not taken, or can't be read.
        """
        try:
            params = split(question.params)
            said = tracecontext.context_of(params)
        except InvalidParams:
            return None
        if not self._tracer.wants(self.context and (said or self.context)):
            return None
        name, attributes = described(question.method, params)
        attributes |= {key: self.attributes[key] for key in _OF_PEER if key in self.attributes}
        attributes[REQUEST_ID] = str(question.id)[:LONGEST_ID]
        return self._under(said, kind, name, question.method, attributes)

    def _under(
        self,
        said: TraceContext | None,
        kind: SpanKind,
        name: str,
        method: str,
        attributes: dict[str, str | int],
    ) -> Span:
        """Begin a span that is part of this one, or of what is `said` to be part of it."""
        parent = None if self.context is None else said or self.context
        return Span(
            name,
            method,
            None if parent is None else attrs.evolve(parent, span_id=secrets.token_hex(8)),
            None if parent is None else parent.span_id,
            attributes,
            self if self.request is None else self.request,
            kind,
            has_remote_parent=said is not None and kind == "server",
            tracer=self._tracer,
        )

    def in_context(self, params: Fields) -> Fields:
        """Return the parameters of what it asks, which say that they are part of it.

        Raises:
            InvalidParams: ``_meta`` is malformed.
        """
        return params if self.context is None else tracecontext.with_context(params, self.context)

    def answer(self, answer: Response | Failure) -> None:
        """End it with the answer."""
        if isinstance(answer, Failure):
            code = RemoteError(answer.error).code
            is_error = self.kind == "client" or code not in _NO_ERRORS
            self.end(str(code) if is_error else None, {STATUS: str(code)})
        elif self.method == TOOLS_CALL and _is_error(answer.result):
            self.end(TOOL_ERROR)
        else:
            self.end()

    def fail(self, failure: type[BaseException]) -> None:
        """End it without an answer."""
        self.end(kind_of(failure))

    def end(self, failure: str | None = None, more: Attributes | None = None) -> None:
        """End it, unless it is over already."""
        if self.seconds is not None:
            return
        self.seconds = time.perf_counter() - self._begun
        if failure is not None:
            self.attributes[ERROR] = failure
        if more is not None:
            self.attributes.update(more)
        self._tracer.over(self)

    def __repr__(self) -> str:
        return f"<Span {self.kind} {self.name!r}>"


def described(
    method: str, params: Fields, *, is_known: bool = True
) -> tuple[str, dict[str, str | int]]:
    """Return what a span of a request is called, and what is told of it.

    Args:
        method: The method; those that no revision of MCP has are all called the same.
        params: Its parameters.
        is_known: Whether there is what it names. What there is not, is not named: there is no end
            to what clients may make up.
    """
    if method not in REQUESTS:
        return OTHER, {METHOD: OTHER}
    attributes: dict[str, str | int] = {METHOD: method}
    if method == TOOLS_CALL:
        attributes["gen_ai.operation.name"] = "execute_tool"
    target = value_of(params, "name", str) if is_known and method in TARGETS else None
    if not target:
        return method, attributes
    attributes[TARGETS[method]] = target
    return f"{method} {target}", attributes


def _is_error(result: msgspec.Raw) -> bool:
    try:
        return _TOOL_RESULT.decode(result).isError
    except MALFORMED:
        return False
