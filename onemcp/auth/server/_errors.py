"""Errors that clients are told, with the codes of the RFCs."""

from __future__ import annotations

from typing import Final

INVALID_REQUEST: Final = "invalid_request"
INVALID_CLIENT: Final = "invalid_client"
INVALID_GRANT: Final = "invalid_grant"
INVALID_SCOPE: Final = "invalid_scope"
INVALID_TARGET: Final = "invalid_target"
INVALID_REDIRECT_URI: Final = "invalid_redirect_uri"
INVALID_CLIENT_METADATA: Final = "invalid_client_metadata"
UNAUTHORIZED_CLIENT: Final = "unauthorized_client"
UNSUPPORTED_GRANT_TYPE: Final = "unsupported_grant_type"
UNSUPPORTED_RESPONSE_TYPE: Final = "unsupported_response_type"
ACCESS_DENIED: Final = "access_denied"
TEMPORARILY_UNAVAILABLE: Final = "temporarily_unavailable"


class OAuthError(Exception):
    """A request that is refused (RFC 6749, sections 4.1.2.1 and 5.2).

    Attributes:
        code: The error code.
        status: The HTTP status where it is answered directly.
        reason: What the audit log says; by default the description.
    """

    def __init__(self, code: str, description: str, *, status: int = 400, reason: str = "") -> None:
        """Refuse with a code and a description in plain ASCII, without quotes or backslashes."""
        super().__init__(description)
        self.code = code
        self.status = status
        self.reason = reason or description

    @property
    def description(self) -> str:
        """What is wrong, in words that are safe to send."""
        return str(self)


class TooManyRequests(OAuthError):
    """Somebody asks too often.

    Attributes:
        retry_after: When to ask again, in seconds.
    """

    def __init__(self, retry_after: int) -> None:
        """Refuse for that time."""
        super().__init__(TEMPORARILY_UNAVAILABLE, "too many requests; try again later", status=429)
        self.retry_after = retry_after


class RedirectedError(Exception):
    """An authorization request that is refused, and whose client can be told.

    Attributes:
        error: What is wrong.
        redirect_uri: Where to send the browser, which has been checked.
        state: What the client wants to have back.
    """

    def __init__(self, error: OAuthError, redirect_uri: str, state: str | None) -> None:
        """Refuse by way of the browser."""
        super().__init__(str(error))
        self.error = error
        self.redirect_uri = redirect_uri
        self.state = state
