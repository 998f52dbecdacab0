"""Users who have to log in at a backend first: asked with a URL, where their client can show one.

Implements 2026-07-28, Elicitation, URL Mode, in Multi Round-Trip Requests, and 2025-11-25,
URLElicitationRequiredError. The URL is a page of onemcp's own, where its user has to log in: so it
is the one who has logged in there that is known at the backend, whoever has opened it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import trio
from msgspec import Raw

from onemcp.backend import Caller, PersonalBackend
from onemcp.protocol import questions
from onemcp.protocol.errors import InteractionNotPossible, LoginWanted, RemoteError
from onemcp.protocol.fields import Fields, join, plain, raw, split, value_of
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import ELICIT
from onemcp.protocol.questions import INPUT_RESPONSES, REQUEST_STATE
from onemcp.protocol.revisions import Era
from onemcp.protocol.translation import INPUT_REQUIRED, RESULT_TYPE

from .inquiry import Origin
from .reply import Immediate, Reply

if TYPE_CHECKING:
    from .view import View

KEY: Final = "onemcp-login-"
"""What the keys of these questions begin with; the name of the backend follows."""

PATIENCE: Final = 45.0
"""How long a call waits for its user who is logging in, in seconds."""


def put(wanted: LoginWanted, origin: Origin, caller: Caller) -> Reply:
    """Ask the user of a client to log in.

    Args:
        wanted: Where, and why.
        origin: The request.
        caller: Whose it is.

    Raises:
        RemoteError: It tells so, as clients of 2025-11-25 know it.
        LoginWanted: The client can't show a URL, or there is none.
    """
    data = wanted.data or {}
    url, params = data.get("url"), {"mode": questions.URL, "message": wanted.message}
    params[questions.URL] = url or ""
    lacking = questions.lacking(ELICIT, raw(params), plain(caller.capabilities), caller.revision)
    is_second = REQUEST_STATE in origin.params  # there would be two answers to one retry
    if url is None or lacking is not None or origin.method not in questions.ASKING or is_second:
        raise wanted
    if caller.era is Era.LEGACY:
        named = {**params, questions.ELICITATION_ID: str(uuid4())}
        error = {"code": questions.URL_REQUIRED, "message": wanted.message}
        raise RemoteError(raw({**error, "data": {"elicitations": [named]}}))
    asked = {f"{KEY}{data['backend']}": {"method": ELICIT, "params": params}}
    return Immediate(
        Response(origin.id, raw({RESULT_TYPE: INPUT_REQUIRED, "inputRequests": asked}))
    )


async def heed(view: View, method: str, params: Fields, caller: Caller) -> Fields:
    """Wait for users who say that they are logging in; return the request without that.

    Raises:
        InteractionNotPossible: They say that they don't.
        InvalidParams: The answers are malformed.
    """
    if caller.era is Era.LEGACY or method not in questions.ASKING or INPUT_RESPONSES not in params:
        return params
    responses = questions.read_responses(params)
    for key in [key for key in responses if key.startswith(KEY)]:
        await _await_login(view, key.removeprefix(KEY), responses.pop(key))
    kept = {**params, INPUT_RESPONSES: join(responses)}
    if not responses:
        del kept[INPUT_RESPONSES]
    return kept


async def _await_login(view: View, name: str, answer: Raw) -> None:
    if value_of(split(answer), "action", str) != "accept":
        raise InteractionNotPossible(f"backend {name[:80]!r} needs a login, which was refused")
    backend = view.contents.backend(name)
    if isinstance(backend, PersonalBackend):
        with trio.move_on_after(PATIENCE):
            await backend.wait_login()
