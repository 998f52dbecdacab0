"""Which request an event is about, as every line about one tells."""

from __future__ import annotations

import attrs
from msgspec import Raw

from onemcp.protocol import tracecontext
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, split
from onemcp.protocol.jsonrpc import RequestId


@attrs.frozen(kw_only=True)
class OfRequest:
    """What is about a request of a client. Two such events are equal whatever request it is.

    Attributes:
        request: Its id.
        principal: Who has sent it.
        session: What its session is called, or None.
        trace: The trace that it is part of, or None.
    """

    request: RequestId | None = attrs.field(default=None, eq=False)
    principal: str | None = attrs.field(default=None, eq=False)
    session: str | None = attrs.field(default=None, eq=False)
    trace: str | None = attrs.field(default=None, eq=False)


def trace_of(params: Raw | Fields) -> str | None:
    """Return the trace that a request says it is part of, if it says so and can be read."""
    try:
        fields = params if isinstance(params, dict) else split(params)
        context = tracecontext.context_of(fields)
    except InvalidParams:
        return None
    return None if context is None else context.trace_id
