"""Who is to hear that a line was too long: the id of a message of which only the ends are known."""

from __future__ import annotations

import re

import msgspec

from onemcp.protocol.framing import Oversized
from onemcp.protocol.jsonrpc import RequestId

_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_METHOD = rb'"method"\s*:\s*"[^"\\]*"'
_ID = rb'"id"\s*:\s*(?P<id>-?\d{1,18}|"(?:[^"\\]|\\.){0,128}")'
_HEAD = re.compile(  # how a message begins, with its id among what comes first
    rb"\s*\{\s*(?:(?:%(version)b|%(method)b)\s*,\s*){0,2}%(id)b\s*,"
    % {b"version": _VERSION, b"method": _METHOD, b"id": _ID}
)
_TAIL = re.compile(  # how a message ends, with its id among what comes last
    rb",\s*%(id)b\s*(?:,\s*(?:%(version)b|%(method)b)\s*){0,2}\}\s*\Z"
    % {b"version": _VERSION, b"method": _METHOD, b"id": _ID}
)


def id_of(line: Oversized) -> RequestId | None:
    """Return the id of a message that was too long; None where it can't be told.

    What stands right behind the first brace, or right before the last one, is a member of the
    message itself, not of something in it.
    """
    found = _HEAD.match(line.head) or _TAIL.search(line.tail)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found["id"], type=int | str)
    except msgspec.DecodeError:
        return None
