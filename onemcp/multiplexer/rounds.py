"""One round of questions that a modern backend asks a legacy client.

Implements 2026-07-28, Multi Round-Trip Requests, for a client that can't do it: what an
``InputRequiredResult`` asks for is put to the client as requests of the server, and the answers go
back in a retry of the original request, with the ``requestState`` untouched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import trio
from msgspec import Raw

from onemcp.backend import Answer, Call, Caller
from onemcp.protocol.errors import (
    BackendProtocolError,
    InteractionNotPossible,
    InvalidParams,
    MissingClientCapability,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.fields import Fields, join, plain, split, text
from onemcp.protocol.jsonrpc import Request, RequestId, Response
from onemcp.protocol.methods import QUESTIONS
from onemcp.protocol.questions import REQUIRED, as_request_params, lacking, required

MAX_QUESTIONS: Final = 64
"""How many questions a backend may ask in one round."""

EMPTY: Final = Raw(b"{}")


class Round:
    """The questions of one ``InputRequiredResult``, and the client's answers to them."""

    def __init__(self, result: Raw, caller: Caller, next_id: Callable[[], str]) -> None:
        """Read the questions.

        Raises:
            BackendProtocolError: They are malformed, too many, or neither questions nor a state.
            InteractionNotPossible: The client has not declared that it can answer one.
        """
        try:
            questions, self._state = _read(result)
        except InvalidParams as error:
            raise BackendProtocolError(
                f"the backend asks for input with nonsense: {error}"
            ) from error
        if len(questions) > MAX_QUESTIONS:
            raise BackendProtocolError(f"the backend asks over {MAX_QUESTIONS} questions at once")
        if not questions and self._state is None:
            raise BackendProtocolError("the backend asks for input, but for none in particular")
        self._inputs: Fields = {}
        self._pending: dict[RequestId, str] = {}
        self._unasked: deque[Request] = deque()
        self._settled = trio.Event()
        self._refusal: ProtocolError | None = None
        for key, (method, params) in questions.items():
            _check_possible(method, params, caller)
            params = as_request_params(method, params, str(uuid4()))  # noqa: PLW2901
            request = Request(next_id(), method, params)
            self._pending[request.id] = key
            self._unasked.append(request)
        if not self._pending:
            self._settled.set()

    def next_question(self) -> Request | None:
        """Return a question that has not been put to the client yet, if there is one."""
        return self._unasked.popleft() if self._unasked else None

    def take(self, answer: Answer) -> bool:
        """Take an answer of the client; False where nothing of the kind was asked."""
        key = None if answer.id is None else self._pending.pop(answer.id, None)
        if key is None:
            return False
        if isinstance(answer, Response):
            self._inputs[key] = answer.result
        else:
            # Input responses are results: there is no way to tell the backend of an error.
            message = RemoteError(answer.error).message
            self._refusal = InteractionNotPossible(f"the client refused a question: {message}")
        if not self._pending or self._refusal is not None:
            self._settled.set()
        return True

    def abandon(self) -> None:
        """Let nobody wait for answers any more."""
        self._settled.set()

    async def settled(self) -> None:
        """Wait until every question is answered.

        Raises:
            InteractionNotPossible: The client has refused one.
        """
        await self._settled.wait()
        if self._refusal is not None:
            raise self._refusal

    def retry(self, call: Call) -> Call:
        """Return the call to make again, with the answers."""
        params = {**call.params}
        for key, value in (
            ("inputResponses", join(self._inputs) if self._inputs else None),
            ("requestState", self._state),
        ):
            params.pop(key, None)
            if value is not None:
                params[key] = value
        return Call(call.method, params, call.caller, span=call.span)


def check_declared(result: Raw, caller: Caller) -> None:
    """Make sure that a modern client is asked only what it has declared it can answer.

    What is malformed, or no question that is known here, is left to the client.

    Raises:
        MissingClientCapability: It has not (2026-07-28, Overview, Per-request protocol fields).
    """
    try:
        questions, _ = _read(result)
    except InvalidParams:
        return
    capabilities = plain(caller.capabilities)
    for method, params in questions.values():
        if method not in QUESTIONS:
            continue
        missing = lacking(method, params, capabilities, caller.revision)
        if missing is not None:
            raise MissingClientCapability(
                f"the backend needs the client capability {missing}", {REQUIRED: required(missing)}
            )


def _read(result: Raw) -> tuple[dict[str, tuple[str, Raw]], Raw | None]:
    """Read the questions, each with its method and parameters, and the state."""
    fields = split(result, "the result")
    requests = split(_member(fields, "inputRequests") or EMPTY, "inputRequests")
    questions: dict[str, tuple[str, Raw]] = {}
    for key, source in requests.items():
        question = split(source, "a question")
        params = _member(question, "params") or EMPTY
        split(params, "the params of a question")
        questions[key] = text(question, "method", "the method of a question"), params
    return questions, _member(fields, "requestState")


def _member(fields: Fields, key: str) -> Raw | None:
    """Return a member; null, which some servers write for it, is none."""
    value = fields.get(key)
    return None if value is None or bytes(value) == b"null" else value


def _check_possible(method: str, params: Raw, caller: Caller) -> None:
    missing = lacking(method, params, plain(caller.capabilities), caller.revision)
    if missing is not None:
        raise InteractionNotPossible(
            f"the backend needs {method[:80]}, which takes the client capability {missing[:80]}, "
            f"and this client of revision {caller.revision} has not declared it"
        )
