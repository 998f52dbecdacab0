"""A client comes back: its call is resumed, or made again, or it learns why neither is possible.

Implements 2026-07-28, Multi Round-Trip Requests, Server Requirements, for states that onemcp has
sealed itself. Those of modern backends pass through, for their owners to judge.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from onemcp.backend import Backend, Call, Caller
from onemcp.protocol import meta, questions
from onemcp.protocol.errors import BackendLost, InteractionNotPossible, ProtocolError
from onemcp.protocol.fields import Fields, split, value_of
from onemcp.protocol.revisions import Era
from onemcp.state import is_sealed

from .inquiry import Origin
from .parking import INVALID, USED, Parking
from .repeating import is_safe
from .requeststate import State
from .routed import RoutedCall
from .terms import Admit

ELSEWHERE: Final = (
    "requestState can't be read here: it was issued before a restart, or elsewhere; "
    "the call that it belongs to may or may not have acted"
)
UNKNOWN: Final = "requestState is none that was issued here"
"""What clients are told of a state that no legacy backend can have issued."""


def is_retry(method: str, params: Fields, caller: Caller) -> bool:
    """Tell whether a request carries a state; null, which some clients write for none, is none."""
    state = params.get(questions.REQUEST_STATE)
    if state is None or bytes(state) == b"null":
        return False
    return method in questions.ASKING and caller.era is Era.MODERN


async def come_back(
    parking: Parking, admit: Admit, origin: Origin, method: str, caller: Caller
) -> RoutedCall | Origin:
    """Resume the call that a retry belongs to.

    Returns:
        The call; or, where it has to be made again or the state is not onemcp's own, the request
        to go on with.

    Raises:
        ProtocolError: The retry is refused. What waits for it goes on waiting.
    """
    state = parking.read(origin, method, caller)
    if state is None:
        return origin
    responses = questions.read_responses(origin.params)
    parked = parking.find(state)
    if parked is None:
        parking.use_up(origin)
        return _again(origin, state, responses, is_repeatable=parking.is_own(state))
    inquiry = parked.inquiry
    exchange = inquiry.exchange
    token = meta.progress_token(meta.meta_of(origin.params))
    terms = await admit(inquiry.backend, method, caller)
    if parking.find(state) is not parked:
        terms.on_end(None)
        raise parking.refused(origin, caller, "another retry, or its deadline, was first", USED)
    try:
        await parking.take(state, parked)
        with contextlib.suppress(ProtocolError):  # without log messages, it goes on all the same
            await inquiry.backend.heed(exchange, caller)
    except BaseException as error:
        exchange.close()
        terms.on_end(type(error))
        raise
    exchange.call = msgspec.structs.replace(exchange.call, caller=caller)
    exchange.progress_token = token
    inquiry.resume(caller, responses)
    return RoutedCall(
        origin, inquiry.backend, exchange, terms, first=parked.outcome, inquiry=inquiry
    )


def check_state(parking: Parking, origin: Origin, backend: Backend, call: Call) -> None:
    """Make sure that a call with a state is one that its backend may get.

    Raises:
        InvalidParams: The state can't be for this backend.
        BackendLost: The call may not be made again, and what has become of it is not known.
    """
    if not is_retry(call.method, origin.params, call.caller):
        return
    server = backend.server
    era = None if server is None else server.era
    if not origin.is_retry:
        if era is Era.LEGACY:
            said = ELSEWHERE if _is_of_onemcp(origin) else UNKNOWN
            raise parking.refused(origin, call.caller, "it was not issued here", said)
        return
    if era is Era.MODERN:
        why = "it is onemcp's own, and not for its backend"
        raise parking.refused(origin, call.caller, why, INVALID)
    if not (origin.is_repeatable or is_safe(backend, call)):
        raise BackendLost(
            f"what has become of this call to backend {backend.name!r} is not known here: "
            "it may or may not have acted, and is not one to be made again by itself"
        )


def _is_of_onemcp(origin: Origin) -> bool:
    text = value_of(origin.params, questions.REQUEST_STATE, str)
    return text is not None and is_sealed(text)


def _again(origin: Origin, state: State, responses: Fields, *, is_repeatable: bool) -> Origin:
    """Return the request with which a call is made again.

    Args:
        origin: The retry.
        state: What it was sealed with.
        responses: The answers it brings.
        is_repeatable: Whether it is known here that the state has not been used before.
    """
    if not state.call:
        _check_accepted(state, responses)
        return msgspec.structs.replace(
            origin, is_retry=True, is_repeatable=is_repeatable, round=state.round
        )
    answers = (
        (digest, bytes(responses[key])) for key, digest in state.asked.items() if key in responses
    )
    return msgspec.structs.replace(
        origin,
        is_retry=True,
        is_repeatable=False,
        round=state.round,
        given=(*state.given, *answers),
    )


def _check_accepted(state: State, responses: Fields) -> None:
    for key in state.asked:
        if key in responses and value_of(split(responses[key]), "action", str) != "accept":
            raise InteractionNotPossible("the backend needs a URL to be visited, which was refused")
