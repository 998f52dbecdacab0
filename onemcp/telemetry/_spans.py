"""Spans: what was done for a request, by whom it was asked for, and how long it took.

Implements the semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai,
``docs/gen-ai/mcp.md``), the sampling of its SDK (parent-based, then by a ratio of the trace ids),
and W3C Trace Context, section 3.4.

Theory of operation: a span is made for a request that is sampled, and for no other, so that a
request without one costs a comparison. It is handed to the call that comes of the request, and
whoever sends that to a backend begins another one under it. When it is over it goes to whoever
takes spans, which must neither block nor raise. There are no ambient spans: what belongs to which
request is said by arguments alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from onemcp.protocol.errors import RemoteError
from onemcp.protocol.fields import MALFORMED, Fields, value_of
from onemcp.protocol.jsonrpc import Failure, Response
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

_TARGETS: Final = {TOOLS_CALL: "gen_ai.tool.name", PROMPTS_GET: "gen_ai.prompt.name"}
_RATIO_BITS: Final = 64


class _ToolResult(msgspec.Struct):
    isError: bool = False  # noqa: N815 - as it is on the wire


_TOOL_RESULT: Final = msgspec.json.Decoder(_ToolResult)


class Tracer:
    """Begins spans, for as long as somebody takes them.

    Attributes:
        take: Takes spans that are over; None while nobody wants any.
        ratio: Which part of the traces that begin here is taken, from 0 to 1; what began
            elsewhere is taken if it was there.
    """

    def __init__(self) -> None:
        """Begin with nobody who takes spans."""
        self.take: Callable[[Span], object] | None = None
        self.ratio = 1.0

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

    def __repr__(self) -> str:
        return f"<Tracer {'off' if self.take is None else 'on'} ratio={self.ratio:g}>"


@attrs.define(eq=False, repr=False)
class Span:
    """What was done for a request: by onemcp, or by a backend that it has asked.

    Attributes:
        name: What it is shown as; of these there are few.
        method: What was asked for.
        context: Its own place in its trace.
        parent_id: The span that it is part of, or None.
        attributes: What is known of it; never what was sent or answered.
        request: The span of the client's request, where this is that of a backend.
        started: When it began, in nanoseconds since the epoch.
        seconds: How long it took; None as long as it goes on.
    """

    name: str
    method: str
    context: TraceContext
    parent_id: str | None
    attributes: dict[str, str | int]
    request: Span | None = None
    started: int = attrs.field(factory=time.time_ns)
    seconds: float | None = None
    _take: Callable[[Span], object] = attrs.field(kw_only=True)
    _begun: float = attrs.field(factory=time.perf_counter, init=False)

    @property
    def kind(self) -> SpanKind:
        """Whether it is about what onemcp was asked, or about what it has asked."""
        return "server" if self.request is None else "client"

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
        context = attrs.evolve(request.context, span_id=secrets.token_hex(8))
        name, attributes = described(method, params)
        attributes |= about
        return Span(
            name, method, context, request.context.span_id, attributes, request, take=self._take
        )

    def answer(self, answer: Response | Failure) -> None:
        """End it with the answer."""
        if isinstance(answer, Failure):
            code = str(RemoteError(answer.error).code)
            self.end(code, {STATUS: code})
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
        self._take(self)

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
    target = value_of(params, "name", str) if is_known and method in _TARGETS else None
    if not target:
        return method, attributes
    attributes[_TARGETS[method]] = target
    return f"{method} {target}", attributes


def _is_error(result: msgspec.Raw) -> bool:
    try:
        return _TOOL_RESULT.decode(result).isError
    except MALFORMED:
        return False
