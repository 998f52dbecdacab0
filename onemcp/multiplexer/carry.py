"""Getting a call to its backend: admitted, within its deadline, counted until it is over."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from onemcp.backend import Backend, Call, Exchange, Incoming, open_call
from onemcp.protocol import translation
from onemcp.protocol.errors import (
    BackendUnavailable,
    Overloaded,
    ProtocolError,
    RemoteError,
    ResourceNotFound,
)
from onemcp.protocol.jsonrpc import Failure
from onemcp.protocol.methods import RESOURCES_READ
from onemcp.protocol.revisions import Era

from .inquiry import Origin
from .retry import check_state
from .routed import Admit, RoutedCall


async def carry(admit: Admit, origin: Origin, backend: Backend, call: Call) -> RoutedCall:
    """Carry a call to a backend, waiting for it where it is just starting.

    Raises:
        ProtocolError: It can't be carried.
    """
    terms = admit(backend)
    try:
        check_state(origin, backend, call)
        backend, exchange = await _open(backend, call, terms.deadline)
    except BaseException:
        terms.on_end()
        raise
    return RoutedCall(origin, backend, exchange, terms)


async def ask_in_turn(
    admit: Admit,
    origin: Origin,
    candidates: Sequence[Backend],
    call: Call,
    error: ProtocolError,
) -> RoutedCall:
    """Carry a call to the first backend that doesn't begin by saying that it lacks the resource.

    All of them together have no more time than the most patient one.

    Raises:
        ProtocolError: `error`, where none has it; or why one that might have it can't be asked.
    """
    patience = max((backend.config.timeouts.call for backend in candidates), default=0.0)
    latest = trio.current_time() + patience
    for backend in candidates:
        terms = admit(backend)
        terms = attrs.evolve(terms, deadline=min(terms.deadline, latest))
        try:
            check_state(origin, backend, call)
            asked, exchange, first = await _open_and_receive(backend, call, terms.deadline)
        except ProtocolError as failure:
            terms.on_end()
            error = failure
            continue
        except BaseException:
            terms.on_end()
            raise
        if isinstance(first, Failure) and translation.is_not_found(first.error):
            terms.on_end()
            continue
        return RoutedCall(origin, asked, exchange, terms, first=first)
    raise error


async def _open(backend: Backend, call: Call, deadline: float) -> tuple[Backend, Exchange]:
    with trio.move_on_at(deadline):
        return await open_call(backend, call)
    if backend.is_up:
        raise Overloaded(f"backend {backend.name!r} had no instance for this call in time")
    raise BackendUnavailable(
        f"backend {backend.name!r} did not come up in time: {backend.failure or 'starting'}"
    )


async def _open_and_receive(
    backend: Backend, call: Call, deadline: float
) -> tuple[Backend, Exchange, Incoming | None]:
    """Open an exchange and wait for its first message, which is None after the deadline."""
    backend, exchange = await _open(backend, call, deadline)
    try:
        with trio.move_on_at(deadline):
            return backend, exchange, await exchange.receive()
    except BaseException:
        exchange.close()
        raise
    return backend, exchange, None


def not_found(uri: str, era: Era) -> ProtocolError:
    """Return the error for a resource that no backend has, as an era knows it."""
    error = ResourceNotFound("Resource not found", {"uri": uri})
    if era is Era.MODERN:
        return error
    return RemoteError(translation.translate_error(RESOURCES_READ, error.error, Era.LEGACY, uri))
