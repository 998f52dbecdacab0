"""JSON-RPC errors: those the specification defines, and onemcp's own.

One table owns every code. onemcp's own codes lie outside the ranges that JSON-RPC
(-32768 to -32000) and, within it, MCP reserve (2026-07-28, Overview, Error Codes), so that
nobody mistakes them for an error of a backend.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final, TypeVar

import msgspec

T = TypeVar("T")

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
"""2025-11-25 and earlier; 2026-07-28 uses INVALID_PARAMS instead."""
HEADER_MISMATCH: Final = -32020
MISSING_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022

MODERN_ERRORS: Final = frozenset(
    {HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION}
)
"""Codes that only a modern server sends: they identify its era."""


HOP_ERRORS: Final = frozenset({HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION})
"""Codes that are about how a request was sent to the server, and not about what it asks for."""


class ErrorObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``error`` member of a JSON-RPC response.

    Attributes:
        code: The integer that says what went wrong.
        message: One sentence for a person.
        data: Anything more, as received.
    """

    code: int
    message: str = ""
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ProtocolError(Exception):
    """Base of everything that is answered with a JSON-RPC error."""

    @property
    def error(self) -> msgspec.Raw:
        """The ``error`` member to send."""
        raise NotImplementedError  # pragma: no cover - abstract

    def about(self, backend: str) -> ProtocolError:
        """Return the error as clients of many backends need it: it says which one it is about."""
        del backend
        return self


class RemoteError(ProtocolError):
    """A peer answered with an error, which travels on as it came.

    Attributes:
        raw: The ``error`` member byte for byte.
    """

    def __init__(self, raw: msgspec.Raw) -> None:
        """Keep the error as received; what is no error object is carried all the same."""
        self.raw = raw
        super().__init__(f"remote error {self.code}: {self.message}")

    @property
    def error(self) -> msgspec.Raw:
        """The ``error`` member as received."""
        return self.raw

    @property
    def code(self) -> int:
        """The error's code; INTERNAL_ERROR where the peer sent none that is an integer."""
        code = self._member("code", int)
        return INTERNAL_ERROR if code is None else code

    @property
    def message(self) -> str:
        """The error's message, empty where there is none."""
        return self._member("message", str) or ""

    def _member(self, key: str, kind: type[T]) -> T | None:
        try:
            members = msgspec.json.decode(self.raw, type=dict[str, msgspec.Raw])
            return msgspec.json.decode(members[key], type=kind) if key in members else None
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None


class LocalError(ProtocolError):
    """An error that onemcp itself raises.

    Attributes:
        code: The JSON-RPC code, one for each class.
        message: What happened and what to do about it.
        data: Structured details for a program, or None.
    """

    code: ClassVar[int] = INTERNAL_ERROR

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        """Say what happened in one sentence, with optional structured details."""
        super().__init__(message)
        self.message = message
        self.data = data

    @property
    def error(self) -> msgspec.Raw:
        """The ``error`` member to send."""
        fields: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            fields["data"] = self.data
        return msgspec.Raw(msgspec.json.encode(fields))

    def about(self, backend: str) -> LocalError:
        """Return the same error, with the name of the backend that it is about."""
        return type(self)(f"backend {backend!r}: {self.message}", self.data)


class ParseError(LocalError):
    """The bytes are not JSON, or not JSON that can be processed safely."""

    code = PARSE_ERROR


class InvalidRequest(LocalError):
    """The JSON is no JSON-RPC message, or none that is allowed here."""

    code = INVALID_REQUEST


class MethodNotFound(LocalError):
    """Nobody here implements the method."""

    code = METHOD_NOT_FOUND


class InvalidParams(LocalError):
    """The parameters are missing, of the wrong type, or name nothing that exists."""

    code = INVALID_PARAMS


class ResourceNotFound(LocalError):
    """No backend knows the URI. On the wire the code depends on the revision."""

    code = INVALID_PARAMS


class InternalError(LocalError):
    """onemcp failed; the log says why."""

    code = INTERNAL_ERROR


class HeaderMismatch(LocalError):
    """The HTTP headers do not repeat what the body says (Streamable HTTP, Server Validation)."""

    code = HEADER_MISMATCH


class MissingClientCapability(LocalError):
    """The request needs a capability that the client has not declared."""

    code = MISSING_CLIENT_CAPABILITY


class UnsupportedVersion(LocalError):
    """The request is of a revision that is not spoken here."""

    code = UNSUPPORTED_PROTOCOL_VERSION


class BackendUnavailable(LocalError):
    """The backend is not up, and the call never reached it: trying again is safe."""

    code = -33001


class BackendLost(LocalError):
    """The backend went away with the call in flight: it may or may not have acted."""

    code = -33002

    def about(self, backend: str) -> BackendLost:
        """Return the same error, with the name of the backend and what callers must know."""
        message = f"backend {backend!r}: {self.message}; it may or may not have acted"
        return BackendLost(message, self.data)


class DeadlineExceeded(LocalError):
    """The backend did not answer in time: it may or may not have acted."""

    code = -33003


class Overloaded(LocalError):
    """A limit on work in flight is reached: try again later."""

    code = -33004

    def __init__(
        self,
        message: str,
        data: dict[str, Any] | None = None,
        *,
        retry_after: int = 5,
        is_own: bool = False,
    ) -> None:
        """Say which limit it is.

        Args:
            message: What happened, in one sentence.
            data: Structured details.
            retry_after: After how many seconds it may be tried again.
            is_own: Whether it is a limit of the client's own, which others don't meet.
        """
        super().__init__(message, data)
        self.retry_after = retry_after
        self.is_own = is_own


class BackendProtocolError(LocalError):
    """The backend answered with something that is not MCP, or not meant for the client."""

    code = -33005


class MessageTooLarge(LocalError):
    """A message exceeds its size limit."""

    code = -33006


class InteractionNotPossible(LocalError):
    """A question of the backend has no client that it could be put to."""

    code = -33007


class ShuttingDown(LocalError):
    """The gateway or the backend is being stopped and takes no new calls."""

    code = -33008


class RequestCancelled(LocalError):
    """The client has cancelled the request itself."""

    code = -33009


class LoginWanted(LocalError):
    """The user has to log in at the backend; ``data.url`` says where, if there is a page for it."""

    code = -33010


class CircuitOpen(BackendUnavailable):
    """The backend has failed too often of late and isn't asked for now: try again later."""

    code = -33011

    def __init__(
        self, message: str, data: dict[str, Any] | None = None, *, retry_after: int = 1
    ) -> None:
        """Say what has failed.

        Args:
            message: What happened, in one sentence.
            data: Structured details.
            retry_after: After how many seconds it may be tried again.
        """
        super().__init__(message, data)
        self.retry_after = retry_after

    @classmethod
    def until(cls, backend: str, reason: str, wait: float) -> CircuitOpen:
        """Say when a backend is tried again.

        Args:
            backend: The backend.
            reason: What has failed last.
            wait: How long it isn't, in seconds.
        """
        seconds = max(1, math.ceil(wait))
        return cls(
            f"backend {backend!r} has failed too often of late and is not called for now; it is "
            f"tried again in {seconds} s ({reason})",
            {"backend": backend, "retryAfter": seconds},
            retry_after=seconds,
        )


OWN_ERRORS: Final[tuple[type[LocalError], ...]] = (
    BackendUnavailable,
    BackendLost,
    DeadlineExceeded,
    Overloaded,
    BackendProtocolError,
    MessageTooLarge,
    InteractionNotPossible,
    ShuttingDown,
    RequestCancelled,
    LoginWanted,
    CircuitOpen,
)
"""The errors with codes of onemcp's own, as documented in ``docs/reference/errors.md``."""
