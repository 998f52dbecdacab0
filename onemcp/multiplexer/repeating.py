"""Which calls are made again by themselves, after the backend went away with them in flight.

Theory of operation: a call whose connection is lost may or may not have acted. It is made again
only where that does no more than making it once: where it reads by its very method, or where its
tool says so (2025-11-25 and 2026-07-28, ``ToolAnnotations``). What a backend says of its tools is a
hint of somebody who is not trusted, so the configuration has the last word. A call that the backend
has not processed, as HTTP can tell, is made again as soon as there is another connection.

Nothing is made again once anything of the call has been handed on to its client: a notification, a
question, or the result. From there on the client has seen one run of it, and must not see another.
"""

from __future__ import annotations

from typing import Final

from onemcp.backend import Backend, Call
from onemcp.protocol import questions
from onemcp.protocol.errors import BackendLost, BackendUnavailable, LocalError
from onemcp.protocol.fields import plain, split, value_of
from onemcp.protocol.methods import COMPLETE, PROMPTS_GET, RESOURCES_READ, TOOLS, TOOLS_CALL

from .inquiry import Origin

READING: Final = frozenset({RESOURCES_READ, PROMPTS_GET, COMPLETE})
"""Methods that only read, whatever they are called with."""

_HINTS: Final = ("readOnlyHint", "idempotentHint")


def may_repeat(
    backend: Backend, origin: Origin, call: Call, failure: LocalError | None, *, count: int
) -> bool:
    """Tell whether a call that has failed is made again.

    Args:
        backend: Where it has failed.
        origin: The client's request.
        call: The call, in the backend's terms.
        failure: What the connection has failed it with; None where the backend itself has answered.
        count: How often it has been made again already.
    """
    if count >= backend.config.retry.attempts:
        return False
    if origin.is_retry or questions.REQUEST_STATE in origin.params:
        return False  # what its client has answered may have been used up
    if isinstance(failure, BackendLost):
        return is_safe(backend, call)
    return isinstance(failure, BackendUnavailable) and not backend.is_up


def is_safe(backend: Backend, call: Call) -> bool:
    """Tell whether making a call twice does no more than making it once."""
    if call.method != TOOLS_CALL:
        return call.method in READING
    if backend.config.retry.tools != "annotated":
        return backend.config.retry.tools == "all"
    name = value_of(call.params, "name", str)
    for item in backend.listings[TOOLS].items:
        if item.identity == name:
            hints = plain(split(item.definition).get("annotations"))
            return isinstance(hints, dict) and any(hints.get(hint) is True for hint in _HINTS)
    return False
