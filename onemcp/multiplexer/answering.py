"""What backends ask of a client that is no program of its own, and how it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from onemcp.protocol.errors import InternalError, MethodNotFound
from onemcp.protocol.fields import plain, raw
from onemcp.protocol.jsonrpc import Failure, Request, Response


@attrs.frozen
class Question:
    """What a backend asks in the course of a call.

    Attributes:
        method: ``elicitation/create``, ``sampling/createMessage`` or ``roots/list``.
        params: Its parameters.
    """

    method: str
    params: Mapping[str, Any]


@attrs.frozen
class Answers:
    """What a program can be asked, and what answers.

    Attributes:
        capabilities: The capabilities of a client that the program has, as in ``initialize`` of
            2025-11-25: ``{"elicitation": {"form": {}}}``, for example. Backends ask for nothing
            else.
        answer: Returns the result of a question. What it raises is told to the backend as an
            internal error without details, and raised from the call.
    """

    capabilities: Mapping[str, Any] = attrs.field(factory=dict)
    answer: Callable[[Question], Awaitable[Mapping[str, Any]]] | None = None

    async def to(self, request: Request) -> Response | Failure:
        """Answer a backend's request."""
        if self.answer is None:
            refusal = MethodNotFound(f"this program does not answer {request.method}")
            return Failure(request.id, refusal.error)
        return Response(request.id, raw(await self.answer(_question(request))))


NO_ANSWERS = Answers()
BROKEN = InternalError("the program could not answer")


def _question(request: Request) -> Question:
    params = plain(request.params)
    return Question(request.method, params if isinstance(params, dict) else {})
