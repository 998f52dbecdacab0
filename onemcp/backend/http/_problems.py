"""What HTTP can give instead of an answer, told in one clear error each.

Everything here is pure. Foreign exceptions are translated by one table, statuses by another; the
words of a backend are repeated only shortened and cleaned, configured header values never.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from onemcp.backend import http1
from onemcp.backend.connection import ConnectionLost, HandshakeFailed, LoginRequired
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    METHOD_NOT_FOUND,
    MODERN_ERRORS,
    UNSUPPORTED_PROTOCOL_VERSION,
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    InternalError,
    LocalError,
    Overloaded,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.jsonrpc import Failure, RequestId

HEAD_CHARACTERS: Final = 160
"""How much of a body that is no MCP is repeated."""

MAX_HEAD: Final = 4096
"""How many bytes of it are looked at for that."""

_JUNK = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>|[^\x21-\x7e]", re.DOTALL)
_MAX_CAUSES: Final = 10

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
SEE_OTHER: Final = 303
REDIRECTS: Final = frozenset({301, 302, SEE_OTHER, 307, 308})
DOUBTFUL: Final = frozenset({400, 404, 405})
"""Statuses with which a server says that it doesn't speak the transport, era or session."""


class NotStreamable(HandshakeFailed):
    """The backend doesn't speak streamable HTTP; it may speak HTTP+SSE."""


class SessionLost(ConnectionLost):
    """The backend has ended the session."""


class Problem(Exception):
    """Why a request got no answer.

    Attributes:
        error: What the request fails with.
        status: The HTTP status, or None where none came.
        ends: Why the connection is over, or None where other requests may still succeed.
        unreachable: Whether the request never reached the backend for want of a connection.
        doubtful: Whether the connection may be over: the backend refused the request as such.
    """

    def __init__(
        self,
        error: ProtocolError,
        status: int | None = None,
        *,
        ends: ConnectionLost | None = None,
        unreachable: bool = False,
        doubtful: bool = False,
        told: str | None = None,
    ) -> None:
        """Say what the request fails with, and what that means for the connection."""
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.ends = ends
        self.unreachable = unreachable
        self.doubtful = doubtful
        self._told = told

    @property
    def wants_login(self) -> bool:
        """Whether the backend refused for want of a login."""
        return self.status in {UNAUTHORIZED, FORBIDDEN} and isinstance(
            self.error, BackendUnavailable
        )

    @property
    def redirects(self) -> bool:
        """Whether the backend pointed elsewhere."""
        return self.status in REDIRECTS

    @property
    def code(self) -> int | None:
        """The code of the backend's own error, or None where it gave none."""
        return self.error.code if isinstance(self.error, RemoteError) else None

    @property
    def is_modern(self) -> bool:
        """Whether only a backend of the modern era answers like this."""
        return self.code in MODERN_ERRORS

    @property
    def for_client(self) -> ProtocolError:
        """What a client's request fails with.

        The revision is a matter between onemcp and the backend: the client may speak another.
        """
        if self.code == UNSUPPORTED_PROTOCOL_VERSION:
            return BackendUnavailable("it no longer speaks the revision that was agreed on")
        return self.error

    @property
    def reason(self) -> str:
        """What happened, in a sentence that is safe to show."""
        return str(self.error) if self._told is None else self._told


def as_loss(problem: Problem) -> ConnectionLost:
    """Say why there is no connection, after the handshake or a part of it failed."""
    if problem.wants_login:
        return LoginRequired(problem.reason)
    if problem.status in DOUBTFUL and not problem.is_modern:
        return NotStreamable(f"it refused initialize: {problem.reason}")
    if problem.unreachable or isinstance(problem.error, BackendLost):
        return ConnectionLost(problem.reason)
    return problem.ends or HandshakeFailed(problem.reason)


_TABLE: Final[tuple[tuple[type[http1.HttpError], type[LocalError], str], ...]] = (
    (http1.ConnectTimeout, BackendUnavailable, "it doesn't take connections (timeout)"),
    (http1.ConnectError, BackendUnavailable, "it can't be reached"),
    (http1.LocalProtocolError, InternalError, "the request can't be written as HTTP"),
    (http1.RemoteProtocolError, BackendLost, "it broke off, or sent something other than HTTP"),
    (http1.HttpError, BackendLost, "the connection to it broke"),
)
"""What an exception of the HTTP client means, the most special first."""


def translate(error: http1.HttpError) -> Problem:
    """Translate an exception of the HTTP client."""
    local, text = next((local, text) for kind, local, text in _TABLE if isinstance(error, kind))
    cause = _cause(error) if local is BackendUnavailable else ""
    return Problem(local(text + cause), unreachable=local is BackendUnavailable)


def _cause(error: BaseException) -> str:
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f": its TLS certificate is not trusted ({cause.verify_message[:80]})"
            case ssl.SSLError():
                return ": it doesn't speak TLS as it should"
            case socket.gaierror():
                return ": its host name is unknown"
            case ConnectionRefusedError():
                return ": it refuses connections"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield everything that led to an error, within bounds."""
    waiting: list[BaseException] = [error]
    for _ in range(_MAX_CAUSES):
        if not waiting:
            return
        cause = waiting.pop(0)
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)
        waiting.extend(filter(None, (cause.__cause__, cause.__context__)))


@attrs.frozen
class Refusal:
    """A response that is no answer.

    Attributes:
        status: Its HTTP status.
        kind: Its media type, without parameters.
        body: Its body, or the beginning of it.
        remedy: What somebody can do about it, where it is a matter of tokens.
    """

    status: int
    kind: str
    body: bytes
    remedy: str = ""

    def failure(self) -> Failure | None:
        """Return the JSON-RPC error in the body, or None."""
        if self.kind != "application/json":
            return None
        try:
            message = jsonrpc.decode(self.body)
        except ProtocolError:
            return None
        return message if isinstance(message, Failure) else None

    def describe(self, redact: Callable[[str], str] = str) -> str:
        """Say what the backend did, in a clause that is safe to show."""
        failure = self.failure()
        if failure is not None:
            said = head_of(RemoteError(failure.error).message.encode(), redact)
        elif self.kind.startswith(("text/", "application/")):
            said = head_of(self.body, redact)
        else:
            said = ""
        kind = re.sub(r"[^\w/+.-]", "", self.kind)[:60]
        described = f"HTTP {self.status} ({kind})" if kind else f"HTTP {self.status}"
        return f"{described}: {said}" if said else described


def head_of(body: bytes, redact: Callable[[str], str] = str) -> str:
    """Return the beginning of a text without markup, control characters and secrets."""
    text = redact(body[:MAX_HEAD].decode(errors="replace"))
    if len(body) > MAX_HEAD:
        text = text.rpartition(" ")[0]  # the last word may be a part of a secret
    text = " ".join(_JUNK.sub(" ", text).split())
    return text if len(text) <= HEAD_CHARACTERS else text[:HEAD_CHARACTERS] + "..."


def judge(
    refusal: Refusal,
    request_id: RequestId | None,
    *,
    session: bool,
    redact: Callable[[str], str] = str,
) -> Problem:
    """Decide what a refused request means.

    Args:
        refusal: What came instead of an answer.
        request_id: The id of the request, or None for a notification or an answer.
        session: Whether a session id was sent.
        redact: Takes out of a text what must not be repeated.
    """
    status, failure, said = refusal.status, refusal.failure(), refusal.describe(redact)
    error = None if failure is None else RemoteError(failure.error)
    own = failure is not None and failure.id == request_id
    if status == NOT_FOUND and session and not (own and error and error.code == METHOD_NOT_FOUND):
        lost = BackendUnavailable("its session had ended, so the request was not processed")
        return Problem(lost, status, ends=SessionLost("it has ended the session (HTTP 404)"))
    if status == UNAUTHORIZED or (status == FORBIDDEN and (refusal.remedy or not own)):
        remedy = refusal.remedy or 'set one in "headers"'
        needs = BackendUnavailable(f"it wants a login or a token; {remedy} ({said})")
        return Problem(needs, status, doubtful=status == UNAUTHORIZED)
    if failure is not None and error is not None and _passes_on(failure, error, request_id):
        strange = status in DOUBTFUL and not own and error.code not in MODERN_ERRORS
        doubtful = strange or error.code == UNSUPPORTED_PROTOCOL_VERSION
        told = head_of(error.message.encode(), redact)
        return Problem(error, status, doubtful=doubtful, told=told)
    return Problem(_LOCAL.get(status, _nonsense)(said), status, doubtful=status in DOUBTFUL)


def _passes_on(failure: Failure, error: RemoteError, request_id: RequestId | None) -> bool:
    """Tell whether an error is about the request: its id says so, or nothing says otherwise."""
    return failure.id in {request_id, None} or error.code in MODERN_ERRORS


def _nonsense(said: str) -> LocalError:
    return BackendProtocolError(f"it answered with {said}")


def _unavailable(said: str) -> LocalError:
    return BackendUnavailable(f"it is not available ({said})")


def _cut_off(said: str) -> LocalError:
    # A proxy speaks, and doesn't say how far the request had got.
    return BackendLost(f"it went away, and may or may not have acted ({said})")


def _limited(said: str) -> LocalError:
    return Overloaded(f"it limits how often it is called ({said})")


_LOCAL: Final[dict[int, Callable[[str], LocalError]]] = {
    TOO_MANY_REQUESTS: _limited,
    502: _cut_off,
    503: _unavailable,
    504: _cut_off,
}
"""What a status means that no JSON-RPC error explains."""
