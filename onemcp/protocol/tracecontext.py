"""The context of a trace, in HTTP headers and in ``_meta``.

Implements 2026-07-28, Overview, ``_meta``, OpenTelemetry trace context; W3C Trace Context and W3C
Baggage. What stands in ``_meta`` goes first, because it belongs to the request, whatever carries
it; what is malformed in headers is left out, so that only what may be in ``_meta`` gets there.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

import attrs
from msgspec import Raw

from . import meta
from .fields import Fields, join, raw, split, value_of
from .httpheaders import Headers, values_of

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"

MOST_CHARACTERS: Final = 8192
"""How long a header may be: what W3C Baggage has as the least to be handed on."""

_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})"
)
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_MARK: Final = b'"traceparent"'


@attrs.frozen
class TraceContext:
    """Where in which trace something is done (W3C Trace Context, section 3).

    Attributes:
        trace_id: The trace, in 32 hexadecimal digits.
        span_id: The span in it, in 16.
        flags: The flags.
        state: What the vendors of tracing systems have written beside it.
    """

    SAMPLED: ClassVar[int] = 1

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether the one before has taken its span, so that the whole trace may be there."""
        return bool(self.flags & self.SAMPLED)

    @property
    def traceparent(self) -> str:
        """What names it for whoever is called."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def context_of(params: Fields) -> TraceContext | None:
    """Return the context that a request brings in ``_meta``; None where that is none.

    Raises:
        InvalidParams: ``_meta`` is malformed.
    """
    source = params.get(meta.META)
    if source is None or _MARK not in bytes(source):
        return None
    members = meta.meta_of(params)
    found = _PARENT.fullmatch(value_of(members, TRACEPARENT, str) or "")
    if found is None:
        return None
    state = value_of(members, TRACESTATE, str) or ""
    is_fit = len(state) <= MOST_CHARACTERS and _PRINTABLE.fullmatch(state)
    return TraceContext(found[1], found[2], int(found[3], 16), state if is_fit else "")


def with_context(params: Fields, context: TraceContext) -> Fields:
    """Return the parameters of a request with a context in their ``_meta``; its baggage stays.

    Raises:
        InvalidParams: ``_meta`` is malformed.
    """
    members: dict[str, Raw | None] = {
        TRACEPARENT: raw(context.traceparent),
        TRACESTATE: raw(context.state) if context.state else None,
    }
    return meta.set_meta(params, members)


def adopt(params: Raw, headers: Headers) -> Raw:
    """Return the parameters of a request with the context that its headers bring.

    Args:
        params: The parameters; what they have in ``_meta`` already stays.
        headers: The headers, their names in lower case.

    Raises:
        InvalidParams: The parameters, or their ``_meta``, are malformed.
    """
    found = _read(headers)
    if found is None:
        return params
    members: dict[str, Raw | None] = {key: raw(value) for key, value in found.items()}
    fields = split(params)
    if TRACEPARENT in meta.meta_of(fields):
        return params
    return join(meta.set_meta(fields, members))


def to_headers(params: Fields) -> list[tuple[bytes, bytes]]:
    """Return the headers that say what ``_meta`` says; none where there is nothing valid."""
    source = params.get(meta.META)
    if source is None or _MARK not in bytes(source):
        return []
    members = meta.meta_of(params)
    values = {key: value_of(members, key, str) for key in (TRACEPARENT, TRACESTATE, BAGGAGE)}
    if not _PARENT.fullmatch(values[TRACEPARENT] or ""):
        return []
    return [
        (key.encode(), value.encode())
        for key, value in values.items()
        if value and len(value) <= MOST_CHARACTERS and _PRINTABLE.fullmatch(value)
    ]


def _read(headers: Headers) -> dict[str, str] | None:
    """Read the context in headers; several of the same but the parent are one list (RFC 9110)."""
    parents = values_of(headers, TRACEPARENT.encode())
    if len(parents) != 1 or not _PARENT.fullmatch(parents[0].decode("latin-1")):
        return None
    found = {key: values_of(headers, key.encode()) for key in (TRACEPARENT, TRACESTATE, BAGGAGE)}
    values = {key: b",".join(found[key]).decode("latin-1") for key in found if found[key]}
    return {
        key: value
        for key, value in values.items()
        if len(value) <= MOST_CHARACTERS and _PRINTABLE.fullmatch(value)
    }
