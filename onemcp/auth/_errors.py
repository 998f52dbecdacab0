"""What authentication refuses with: one small hierarchy.

It is all the client's doing: the text is the same whatever was wrong, and `reason` says more, for
the log only. Neither ever holds any part of a token. What is ours to mend is a
:class:`onemcp.state.StateError`.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from onemcp.auth._principal import Principal


class AuthError(Exception):
    """Anything that this room raises on purpose."""


class Reason(enum.StrEnum):
    """Why a token was refused. For the log, never for the client."""

    OVERSIZE = "oversize"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    TYPE = "type"
    KEY = "unknown key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    REVOKED = "revoked"


class InvalidToken(AuthError):
    """A token that does not let anybody in.

    Attributes:
        reason: Why, for the log.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__("The access token is invalid or has expired")
        self.reason = reason


class RequestRefused(AuthError):
    """A request that stops at the gate. The text is safe to send.

    Attributes:
        status: The HTTP status to answer with.
        reason: Why, for the log.
        www_authenticate: The challenge to send along, if any.
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, *, reason: str, www_authenticate: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.www_authenticate = www_authenticate


class BadRequest(RequestRefused):
    """A header that must be there once is missing or doubled (RFC 9112, section 3.2)."""


class Forbidden(RequestRefused):
    """The Host or the Origin is none that may call (MCP transports, "Security & Endpoint")."""

    status = 403


class InsufficientScope(RequestRefused):
    """The token is good, but not for this (RFC 6750, section 3.1).

    Attributes:
        scope: What it would have to be good for.
        principal: Whose it is, or None where that is not known.
    """

    status = 403

    def __init__(
        self,
        scope: str,
        principal: Principal | None,
        *,
        www_authenticate: str,
    ) -> None:
        super().__init__(
            f"Your access token lacks a scope; ask for {scope}",
            reason=f"needs {scope}",
            www_authenticate=www_authenticate,
        )
        self.scope = scope
        self.principal = principal


class Unauthorized(RequestRefused):
    """No token, or one that does not let in (RFC 6750, section 3)."""

    status = 401
