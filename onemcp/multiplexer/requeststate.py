"""What a ``requestState`` holds, which is sealed so that only onemcp can have written it.

Implements 2026-07-28, Multi Round-Trip Requests, Server Requirements. Pure: no clock, no I/O; that
a state is used once is for the registry to see to.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from msgspec import Raw

from onemcp.protocol.fields import Fields, plain

PURPOSE: Final = "requestState"
"""What the states are sealed for."""

SALIENT: Final = ("name", "uri", "arguments")
"""The parameters that make two requests of one method the same."""


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a retry must prove.

    Attributes:
        principal: Who was asked.
        request: Which request it was; see `fingerprint`.
        expires: Until when it may be presented, as a Unix time.
        instance: The process that holds the call.
        call: The parked call; empty where nothing is parked and the call is just made again.
        round: How often its client had been asked.
        asked: Which question each key stands for; see `question_digest`.
        given: The answers of earlier rounds, each after its question's digest.
    """

    principal: str
    request: bytes
    expires: float
    instance: str
    call: str
    round: int
    asked: dict[str, bytes] = msgspec.field(default_factory=dict)
    given: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)


def fingerprint(endpoint: str | None, method: str, params: Fields) -> bytes:
    """Digest what makes a request the same one: where it was sent, its method, what it is about.

    Args:
        endpoint: The view that it was sent to.
        method: Its method.
        params: Its parameters, with names as the client has them.
    """
    salient = {key: plain(params[key], bytes(params[key])) for key in SALIENT if key in params}
    return _digest([endpoint, method, salient])


def question_digest(method: str, params: Raw) -> bytes:
    """Digest a question, to know it again when a backend asks it anew."""
    return _digest([method, plain(params, bytes(params))])


def _digest(value: object) -> bytes:
    # Members in order, for a client may write the same object differently when it retries.
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()
