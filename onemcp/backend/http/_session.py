"""The headers that say what a request is and which session it belongs to.

Implements 2026-07-28, Streamable HTTP, Request Metadata, and 2025-11-25, Transports, Session
Management and Protocol Version Header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from onemcp.backend.call import Call
from onemcp.protocol import headers as names
from onemcp.protocol.errors import BackendProtocolError
from onemcp.protocol.fields import plain, value_of
from onemcp.protocol.headers import MirroredParameter, encode_value, parameter_headers
from onemcp.protocol.methods import NAMED, TOOLS_CALL
from onemcp.protocol.revisions import V2025_06_18, Era, era_of

from ._client import HeaderList
from ._problems import Problem
from ._reply import EVENT_STREAM, JSON, Reply

LAST_EVENT_ID: Final = b"last-event-id"
MAX_EVENT_ID: Final = 4096
"""Event ids longer than this, in bytes, are not resumed from."""

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,4096}")
_POST: Final[HeaderList] = [
    (b"accept", f"{JSON}, {EVENT_STREAM}".encode()),
    (b"content-type", JSON.encode()),
]


class Tools(Protocol):
    """What is known of a backend's tools, as far as it matters to headers."""

    def mirrored(self, tool: str) -> Sequence[MirroredParameter]:
        """Return which parameters of a tool are repeated in headers."""

    async def relist_tools(self) -> None:
        """Find out what the backend's tools are now."""


@attrs.define
class Session:
    """What has been agreed on with a backend.

    Attributes:
        revision: The revision, or None before that.
        id: The session's id, or None where there is none.
    """

    revision: str | None = None
    id: str | None = attrs.field(default=None, repr=False)

    @property
    def is_legacy(self) -> bool:
        """Whether the agreed revision is one with a handshake."""
        return self.revision is not None and era_of(self.revision) is not Era.MODERN

    def post(self) -> HeaderList:
        """Write the headers of a message that is no modern request."""
        return [*_POST, *self._own()]

    def get(self, last_event_id: str | None = None) -> HeaderList:
        """Write the headers that ask for a stream, resuming after an event."""
        headers = [(b"accept", EVENT_STREAM.encode()), *self._own()]
        if last_event_id is not None:
            headers.append((LAST_EVENT_ID, last_event_id.encode()))
        return headers

    def delete(self) -> HeaderList:
        """Write the headers that end the session."""
        return self._own()

    def adopt(self, reply: Reply) -> None:
        """Take the session's id from the response to ``initialize``.

        Raises:
            Problem: It is malformed.
        """
        found = reply.header(b"mcp-session-id") or None
        if found is not None and not _SESSION_ID.fullmatch(found):
            error = BackendProtocolError("its session id has characters that headers may not have")
            raise Problem(error, reply.status)
        self.id = found

    def _own(self) -> HeaderList:
        headers: HeaderList = []
        if self.revision is not None and self.revision >= V2025_06_18:
            headers.append((names.PROTOCOL_VERSION, self.revision.encode()))
        if self.id is not None:
            headers.append((names.SESSION_ID, self.id.encode()))
        return headers


def modern_headers(call: Call, revision: str, tools: Tools) -> HeaderList:
    """Write the headers of a modern request."""
    headers = [
        *_POST,
        (names.PROTOCOL_VERSION, revision.encode()),
        (names.METHOD, call.method.encode()),
    ]
    key = NAMED.get(call.method)
    name = None if key is None else value_of(call.params, key, str)
    if name is not None:
        headers.append((names.NAME, encode_value(name).encode()))
        parameters = tools.mirrored(name) if call.method == TOOLS_CALL else ()
        if parameters:
            headers.extend(
                (header.encode(), value.encode())
                for header, value in parameter_headers(
                    parameters, plain(call.params.get("arguments"))
                )
            )
    return headers
