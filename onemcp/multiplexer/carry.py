"""Getting a call to its backend: admitted, within its deadline, counted until it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
import trio

from onemcp.backend import Answer, Backend, Call, Exchange, Incoming, open_call, open_call_nowait
from onemcp.protocol import translation
from onemcp.protocol.errors import (
    BackendUnavailable,
    Overloaded,
    ProtocolError,
    RemoteError,
    RequestCancelled,
    ResourceNotFound,
)
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.methods import RESOURCES_READ
from onemcp.protocol.revisions import Era

from .inquiry import Origin
from .reply import Reply
from .retry import check_state
from .routed import RoutedCall
from .terms import Admit


async def carry(admit: Admit, origin: Origin, backend: Backend, call: Call) -> RoutedCall:
    """Carry a call to a backend, waiting for it where it is just starting.

    Raises:
        ProtocolError: It can't be carried.
    """
    call = _traced(call, origin)
    terms = await admit(backend, call.method, call.caller)
    try:
        check_state(terms.parking, origin, backend, call)
        backend, exchange = await _open(backend, call, terms.deadline)
    except BaseException as error:
        terms.on_end(type(error))
        raise
    return RoutedCall(origin, backend, exchange, terms)


class Tentative:
    """A reply of a backend that has said something, and may still say that it lacks the resource.

    Then the next ones are asked. See :class:`.reply.Reply`.
    """

    __slots__ = ("_ask_others", "_closed", "_current", "_is_over", "_origin")

    def __init__(
        self, origin: Origin, current: RoutedCall, ask_others: Callable[[], Awaitable[Reply]]
    ) -> None:
        """Carry on with `current`, for as long as it doesn't lack the resource."""
        self._origin = origin
        self._current: Reply = current
        self._ask_others: Callable[[], Awaitable[Reply]] | None = ask_others
        self._is_over = False
        self._closed = False

    async def receive(self) -> Incoming:
        """Wait for the next message."""
        if not self._is_over:
            message = await self._current.receive()
            if self._ask_others is None or not _is_ignorance(message):
                return message
            self._is_over = True  # as is known from here on, should this be cancelled
        return await self._go_on()

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        return self._current.answer(answer)

    def close(self) -> None:
        """Stop caring."""
        self._closed = True
        self._current.close()

    async def _go_on(self) -> Incoming:
        try:
            if self._ask_others is not None and not self._closed:
                self._current, self._ask_others = await self._ask_others(), None
                self._is_over = False
            if self._closed:
                self._current.close()
                raise RequestCancelled("the client cancelled the request")
        except ProtocolError as error:
            return Failure(self._origin.id, error.error)
        return await self._current.receive()


def _is_ignorance(message: Incoming | None) -> bool:
    return isinstance(message, Failure) and translation.is_not_found(message.error)


async def ask_in_turn(
    admit: Admit,
    origin: Origin,
    candidates: Sequence[Backend],
    call: Call,
    error: ProtocolError,
    *,
    latest: float | None = None,
) -> Reply:
    """Carry a call to the first backend that doesn't say that it lacks the resource.

    All of them together have no more time than the most patient one, or than until `latest`.

    Raises:
        ProtocolError: `error`, where none has it; or why one that might have it can't be asked.
    """
    call = _traced(call, origin)
    latest = _deadline(candidates) if latest is None else latest
    for number, backend in enumerate(candidates, start=1):
        terms = await admit(backend, call.method, call.caller, latest)
        try:
            check_state(terms.parking, origin, backend, call)
            asked, exchange, first = await _open_and_receive(backend, call, terms.deadline)
        except ProtocolError as failure:
            terms.on_end(type(failure))
            error = failure
            continue
        except BaseException as failure:
            terms.on_end(type(failure))
            raise
        if _is_ignorance(first):
            terms.on_end(None)
            continue
        routed = RoutedCall(origin, asked, exchange, terms, first=first)
        if first is None or isinstance(first, Response | Failure):
            return routed
        others = candidates[number:]
        ask_others = partial(ask_in_turn, admit, origin, others, call, error, latest=latest)
        return Tentative(origin, routed, ask_others)
    raise error


def _traced(call: Call, origin: Origin) -> Call:
    return call if origin.span is None else msgspec.structs.replace(call, span=origin.span)


def _deadline(candidates: Sequence[Backend]) -> float:
    patience = max((backend.config.timeouts.call for backend in candidates), default=0.0)
    return trio.current_time() + patience


async def _open(backend: Backend, call: Call, deadline: float) -> tuple[Backend, Exchange]:
    opened = open_call_nowait(backend, call)
    if opened is not None:
        return opened
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
