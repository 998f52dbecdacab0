"""What servers ask of their clients, and how a question crosses eras.

Both eras have the same three questions (elicitation, sampling, roots). They differ in how one is
carried, which is not decided here, and in two details of URL-mode elicitation: up to 2025-11-25 it
has an ``elicitationId``, and a request can be refused with an error that lists such elicitations.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from .errors import InvalidParams
from .fields import Fields, items, join, raw, split, text, value_of
from .methods import (
    ELICIT,
    PROMPTS_GET,
    QUESTIONS,
    RESOURCES_READ,
    ROOTS,
    SAMPLE,
    TASKS_CANCEL,
    TASKS_GET,
    TASKS_LIST,
    TASKS_RESULT,
    TOOLS_CALL,
)
from .revisions import LATEST_LEGACY, LATEST_MODERN

INPUT_RESPONSES: Final = "inputResponses"
REQUEST_STATE: Final = "requestState"
"""The members of a retry that carry the answers, and what the server wants back with them."""

REQUIRED: Final = "requiredCapabilities"
"""The member of an error's ``data`` that says what a client would have to declare."""

ASKING: Final = frozenset({TOOLS_CALL, PROMPTS_GET, RESOURCES_READ})
"""Requests that may be answered with ``InputRequiredResult`` (MRTR, Supported Requests)."""

ABOUT_TASKS: Final = frozenset({TASKS_GET, TASKS_RESULT, TASKS_CANCEL, TASKS_LIST})
"""What a server of 2025-11-25 asks about tasks of its client (Tasks)."""

URL_REQUIRED: Final = -32042
"""``URLElicitationRequiredError`` of 2025-11-25."""

WITH_URLS: Final = frozenset({LATEST_LEGACY, LATEST_MODERN})
"""The revisions that have URL-mode elicitation."""

ELICITATION_ID: Final = "elicitationId"
URL: Final = "url"
FORM: Final = "form"
_TOOLS: Final = ("tools", "toolChoice")


def lacking(method: str, params: Raw, capabilities: Any, revision: str) -> str | None:
    """Tell which client capability a question takes that has not been declared.

    Args:
        method: The question's method.
        params: Its parameters.
        capabilities: What the client has declared, decoded.
        revision: What the client speaks.

    Returns:
        A capability such as ``sampling`` or ``elicitation.url``; None where nothing is lacking.

    Raises:
        InvalidParams: The parameters are no JSON object.
    """
    capability = QUESTIONS.get(method)
    if method in ABOUT_TASKS:
        capability = "tasks"
    if capability is None:
        return method
    declared = capabilities.get(capability) if isinstance(capabilities, dict) else None
    if not isinstance(declared, dict):
        return capability
    fields = split(params)
    if method == ELICIT:
        mode = value_of(fields, "mode", str) or FORM
        return None if _can_elicit(mode, declared, revision) else f"{capability}.{mode[:40]}"
    if method == SAMPLE and not fields.keys().isdisjoint(_TOOLS):
        return None if isinstance(declared.get("tools"), dict) else f"{capability}.tools"
    return None


def _can_elicit(mode: str, declared: dict[str, Any], revision: str) -> bool:
    """Tell whether a client has declared a mode; one that names none has forms only."""
    if mode == URL:
        return revision in WITH_URLS and isinstance(declared.get(URL), dict)
    return mode == FORM and (isinstance(declared.get(FORM), dict) or URL not in declared)


def required(capability: str) -> dict[str, Any]:
    """Return the ``ClientCapabilities`` that declare a capability such as ``elicitation.url``."""
    declared: dict[str, Any] = {}
    for name in reversed(capability.split(".")):
        declared = {name: declared}
    return declared


def as_input_request(method: str, params: Raw) -> Raw:
    """Write a question of a legacy server as a modern client gets it (MRTR, InputRequests)."""
    fields = split(params)
    if method == ELICIT:
        fields.pop(ELICITATION_ID, None)
    if method == ROOTS and not fields:
        return raw({"method": method})
    return raw({"method": method, "params": join(fields)})


def as_request_params(method: str, params: Raw, new_id: str) -> Raw:
    """Write the parameters of a modern server's question as a legacy client gets them.

    Args:
        method: The question's method.
        params: Its parameters.
        new_id: Names the elicitation, where it needs a name (2025-11-25, Elicitation).
    """
    if method != ELICIT:
        return params
    fields = split(params)
    if value_of(fields, "mode", str) != URL or ELICITATION_ID in fields:
        return params
    return join({**fields, ELICITATION_ID: raw(new_id)})


def required_urls(error: Raw) -> list[Raw] | None:
    """Read the elicitations of a ``URLElicitationRequiredError``, as modern parameters.

    Returns:
        None where the error is another one, or lists nothing that could be asked.
    """
    try:
        fields = split(error, "error")
        if value_of(fields, "code", int) != URL_REQUIRED:
            return None
        listed = items(split(fields["data"], "data")["elicitations"], "elicitations")
        return [_url_params(each) for each in listed] or None
    except (InvalidParams, KeyError):
        return None


def _url_params(source: Raw) -> Raw:
    fields = split(source, "an elicitation")
    text(fields, URL, "its url")
    fields.pop(ELICITATION_ID, None)
    return join({**fields, "mode": raw(URL)})


def read_responses(params: Fields) -> Fields:
    """Read the answers that a retry carries, by the keys of the questions.

    Raises:
        InvalidParams: They are no object of objects (MRTR, Error Handling).
    """
    source = params.get(INPUT_RESPONSES)
    if source is None:
        return {}
    responses = split(source, INPUT_RESPONSES)
    for key, answer in responses.items():
        split(answer, f"{INPUT_RESPONSES}[{key[:80]!r}]")
    return responses
