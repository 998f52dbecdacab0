"""Calls that wait for their clients to come back with answers.

Implements 2026-07-28, Multi Round-Trip Requests, for legacy backends, which ask during a call.

Theory of operation: a call is parked when its backend has asked something. From then on a child of
the `interactions` supervisor owns it, nobody is connected, and the client holds a sealed state.
Its retry takes the call away from the child and owns it in its turn; closing the retry cancels the
call like any other. So one round has one child, and a call that asks again is parked again.

A parked call ends by its deadline, with its backend, or when the gateway stops; where it is still
in flight then, the backend is told so. What a backend asks meanwhile waits for the next round, and
an answer that it gives meanwhile is kept for the client until the deadline.
The time that a client takes is its own: a call's timeout begins anew with each retry.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs
import trio
from msgspec import Raw

from onemcp.admission import refusal
from onemcp.backend import Caller
from onemcp.protocol import meta, questions
from onemcp.protocol.errors import (
    InteractionNotPossible,
    InvalidParams,
    MissingClientCapability,
    Overloaded,
)
from onemcp.protocol.fields import Fields, join, plain, raw, value_of
from onemcp.protocol.methods import ELICIT
from onemcp.protocol.translation import INPUT_REQUIRED, RESULT_TYPE
from onemcp.state import Keyring, SealBroken, Sealer
from onemcp.supervision import ChildSpec, DynamicSupervisor, Restart, SupervisionError

from .events import CallParked, CallResumed, InteractionEvent, ParkedCallExpired, RetryRefused
from .inquiry import MAX_ROUNDS, Inquiry, Origin
from .parkedcall import ParkedCall
from .requeststate import PURPOSE, State, fingerprint, question_digest

START: Final = 5.0
"""How long the supervisor may take to start a child, in seconds."""

MOST: Final = 65_536
"""How many calls can be parked at all, whatever the limits say."""

MAX_USED: Final = 10_000
"""How many states are remembered that were used up without a call having been parked here."""


INVALID: Final = "requestState is not valid"
FOREIGN: Final = "requestState does not belong to this request"
EXPIRED: Final = "requestState has expired, and what waited for it is cancelled; call again"
USED: Final = "requestState has been used already, or its call is over"
"""What clients are told of a state that is refused."""


@attrs.frozen
class ParkingLimits:
    """How much may be parked.

    Attributes:
        calls: How many calls altogether.
        per_principal: How many of one principal.
        per_backend: How many of one backend.
        seconds: How long each waits for its client.
    """

    calls: int = 256
    per_principal: int = 32
    per_backend: int = 64
    seconds: float = 600.0


class Parking:
    """All parked calls, and the states that their clients hold.

    Attributes:
        supervisor: Where the calls live.
        limits: How many there may be, and how long; may be replaced at any time.
        on_event: Takes what happens to them.
    """

    def __init__(
        self,
        keyring: Keyring,
        limits: ParkingLimits | None = None,
        *,
        on_event: Callable[[InteractionEvent], object] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with no call.

        Args:
            keyring: What states are sealed with. With the same one after a restart, or
                elsewhere, calls can be made again that are safe to repeat.
            limits: How much may be parked.
            on_event: Takes what happens to parked calls.
            wall_clock: Tells the Unix time, by which states expire.
        """
        self.supervisor = DynamicSupervisor("interactions", max_children=MOST)
        self.limits = limits or ParkingLimits()
        self.on_event = on_event
        self._sealer = Sealer(keyring, PURPOSE, State)
        self._now = wall_clock
        self._instance = secrets.token_urlsafe(9)
        self._calls: dict[str, ParkedCall] = {}
        self._used: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        return f"<Parking calls={len(self._calls)}>"

    def end(self, condition: Callable[[Caller], bool]) -> None:
        """End the calls of some callers, who are not to have their answers any more."""
        for parked in self._calls.values():
            if condition(parked.inquiry.caller):
                parked.give_up()

    # --- the way out -------------------------------------------------------------------------

    async def park(self, inquiry: Inquiry) -> Raw:
        """Let a call wait for its client.

        Returns:
            What the client gets: the questions and the state.

        Raises:
            Overloaded: Too many calls are parked.
            InteractionNotPossible: It has asked too often, or nothing can be parked now.
        """
        if inquiry.round >= MAX_ROUNDS:
            raise InteractionNotPossible(f"{MAX_ROUNDS} rounds of questions are enough")
        self._check_room(inquiry)
        call_id = secrets.token_urlsafe(12)
        parked = self._calls[call_id] = ParkedCall(inquiry, self.limits.seconds)
        if not await self._start(call_id, parked):
            raise InteractionNotPossible("calls can't be parked now")
        inquiry.round += 1
        asked = {key: each.digest for key, each in inquiry.waiting.items()}
        state = self._state(
            inquiry.origin,
            inquiry.method,
            inquiry.caller,
            call=call_id,
            round=inquiry.round,
            asked=asked,
            given=inquiry.carried,
        )
        about = inquiry.origin.told(inquiry.caller)
        name, method = inquiry.backend.name, inquiry.method
        self.on_event(CallParked(name, method, inquiry.round, len(asked), **about))
        server = inquiry.backend.server
        return self._input_required(inquiry.input_requests, state, server.info if server else None)

    def send_to(self, urls: list[Raw], origin: Origin, method: str, caller: Caller) -> Raw:
        """Let a client visit URLs before it makes a call once more (2025-11-25, Elicitation).

        Raises:
            MissingClientCapability: It can't.
            InteractionNotPossible: It has done so too often.
        """
        declared = plain(caller.capabilities)
        for params in urls:
            lacking = questions.lacking(ELICIT, params, declared, caller.revision)
            if lacking is not None:
                raise MissingClientCapability(
                    f"the backend needs the client capability {lacking}",
                    {questions.REQUIRED: questions.required(lacking)},
                )
        if origin.round >= MAX_ROUNDS:
            raise InteractionNotPossible(f"{MAX_ROUNDS} rounds of questions are enough")
        keys = [f"elicitation-{number}" for number in range(1, len(urls) + 1)]
        asked = {
            key: question_digest(ELICIT, params) for key, params in zip(keys, urls, strict=True)
        }
        state = self._state(origin, method, caller, call="", round=origin.round + 1, asked=asked)
        requests = [questions.as_input_request(ELICIT, params) for params in urls]
        return self._input_required(join(dict(zip(keys, requests, strict=True))), state, None)

    async def watch(self, key: str, inquiry: Inquiry) -> ParkedCall:
        """Let a call wait whose questions its client hears of by other means.

        Args:
            key: What it is found by.
            inquiry: The call.

        Raises:
            Overloaded: Too many calls are parked.
            InteractionNotPossible: Nothing can be parked now.
        """
        self._check_room(inquiry)
        parked = self._calls[key] = ParkedCall(inquiry, self.limits.seconds)
        if not await self._start(key, parked):
            raise InteractionNotPossible("nothing can wait for its client now")
        return parked

    def watched(self, key: str) -> ParkedCall | None:
        """Return a call that is watched."""
        return self._calls.get(key)

    def unwatch(self, key: str) -> None:
        """End a call that is watched; where it is still in flight it is cancelled."""
        parked = self._calls.pop(key, None)
        if parked is not None:
            parked.disown()
            parked.inquiry.exchange.close()

    # --- the way back ------------------------------------------------------------------------
    def read(self, origin: Origin, method: str, caller: Caller) -> State | None:
        """Verify the state that a retry presents; using it up is for the caller.

        Returns:
            What was sealed; None where the state is not one of this key.

        Raises:
            InvalidParams: It is refused.
        """
        text = value_of(origin.params, questions.REQUEST_STATE, str)
        if text is None or not self._sealer.owns(text):
            return None
        try:
            state = self._sealer.open(text)
        except SealBroken:
            raise self.refused(origin, caller, "it does not verify", INVALID) from None
        request = fingerprint(origin.endpoint, method, origin.params)
        if state.principal != caller.principal:
            raise self.refused(origin, caller, "it is another principal's", FOREIGN)
        if state.request != request:
            raise self.refused(origin, caller, "it is of another request", FOREIGN)
        if state.expires <= self._now():
            raise self.refused(origin, caller, "it has expired", EXPIRED)
        if self._digest(text) in self._used or self._is_over(state):
            raise self.refused(origin, caller, "it has been used, or the call is over", USED)
        return state

    def is_own(self, state: State) -> bool:
        """Tell whether a state was issued by this process, which knows if it has been used."""
        return state.instance == self._instance

    def find(self, state: State) -> ParkedCall | None:
        """Return the call that waits for a verified state; None where it is not held here."""
        return self._calls.get(state.call)

    async def take(self, state: State, parked: ParkedCall) -> None:
        """Take a call that was found; its state is used up, and the caller owns it."""
        del self._calls[state.call]
        inquiry = parked.inquiry
        about = inquiry.origin.told(inquiry.caller)
        name, method = inquiry.backend.name, inquiry.method
        self.on_event(CallResumed(name, method, inquiry.round, **about))
        await parked.let_go()

    def use_up(self, origin: Origin) -> None:
        """Take note that a state is used whose call is not held here."""
        text = value_of(origin.params, questions.REQUEST_STATE, str) or ""
        now = self._now()
        if len(self._used) >= MAX_USED:
            self._used = {key: until for key, until in self._used.items() if until > now}
        if len(self._used) >= MAX_USED:
            raise Overloaded("too many calls are made again; try again later")
        self._used[self._digest(text)] = now + self.limits.seconds

    # --- within ------------------------------------------------------------------------------

    def _is_over(self, state: State) -> bool:
        return bool(state.call) and self.is_own(state) and state.call not in self._calls

    def _check_room(self, inquiry: Inquiry) -> None:
        limits, backend, principal = self.limits, inquiry.backend, inquiry.caller.principal
        others = [parked.inquiry for parked in self._calls.values()]
        of_principal = sum(each.caller.principal == principal for each in others)
        of_backend = sum(each.backend.name == backend.name for each in others)
        if len(others) >= min(limits.calls, MOST):
            raise refusal(f"{len(others)} calls wait for their clients", "limits.parked")
        if of_principal >= limits.per_principal:
            said, option = f"{of_principal} calls wait for this client", "limits.parkedPerPrincipal"
            raise refusal(said, option, is_own=True)
        if of_backend >= limits.per_backend:
            said, option = f"{of_backend} calls of this backend wait", "limits.parkedPerBackend"
            raise refusal(said, option)

    async def _start(self, call_id: str, parked: ParkedCall) -> bool:
        """Let a child own the call, or nobody where that isn't possible."""
        spec = ChildSpec(
            id=secrets.token_urlsafe(12),  # another one of the same call may just be ending
            start=partial(self._run, call_id, parked),
            restart=Restart.TEMPORARY,
        )
        # Half-way, it would be nobody's whose call it is.
        with trio.move_on_after(START, shield=True):
            try:
                await self.supervisor.start_child(spec)
            except SupervisionError:
                pass
            else:
                return True
        parked.disown()
        self._calls.pop(call_id, None)
        return False

    async def _run(
        self, call_id: str, parked: ParkedCall, *, task_status: trio.TaskStatus[ParkedCall]
    ) -> None:
        try:
            await parked.run(task_status=task_status)
        finally:
            if self._calls.get(call_id) is parked:
                del self._calls[call_id]
        if parked.expired:
            inquiry, seconds = parked.inquiry, self.limits.seconds
            about = inquiry.origin.told(inquiry.caller)
            name, method = inquiry.backend.name, inquiry.method
            self.on_event(ParkedCallExpired(name, method, seconds, **about))

    def _state(self, origin: Origin, method: str, caller: Caller, **fields: Any) -> str:
        return self._sealer.seal(
            State(
                principal=caller.principal,
                request=fingerprint(origin.endpoint, method, origin.params),
                expires=self._now() + self.limits.seconds,
                instance=self._instance,
                **fields,
            )
        )

    def refused(self, origin: Origin, caller: Caller, why: str, said: str) -> InvalidParams:
        """Tell the operator why a retry is refused, and return what its client is told."""
        about = origin.told(caller)
        self.on_event(RetryRefused(about.pop("principal"), origin.method, why, **about))
        return InvalidParams(said)

    @staticmethod
    def _digest(text: str) -> bytes:
        return hashlib.sha256(text.encode()).digest()

    @staticmethod
    def _input_required(requests: Raw, state: str, info: Raw | None) -> Raw:
        fields: Fields = {
            RESULT_TYPE: raw(INPUT_REQUIRED),
            "inputRequests": requests,
            questions.REQUEST_STATE: raw(state),
        }
        return join(fields if info is None else meta.set_meta(fields, {meta.SERVER_INFO: info}))
