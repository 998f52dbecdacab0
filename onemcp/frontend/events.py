"""What happens to requests and sessions, as typed events."""

from __future__ import annotations

from typing import ClassVar

import attrs

from onemcp.auth import Principal
from onemcp.telemetry import OfRequest, OfSession, SpanKind


@attrs.frozen
class RequestFailed(OfRequest):
    """A request failed for a reason of onemcp's own: a bug.

    Attributes:
        path: Where it was sent, or its method where there are no paths.
        error: What was raised.
    """

    path: str
    error: Exception


@attrs.frozen
class RequestDenied:
    """A request was refused for its origin, its host or its credentials.

    Attributes:
        path: Where it was sent.
        status: The HTTP status it was answered with.
        reason: Why, for the operator.
        address: Where it came from.
        subject: Who has sent it, where the token is good for something.
        client: The program that was used.
        scope: What the token would have to be good for, if that is what is lacking.
    """

    path: str
    status: int
    reason: str
    address: str = ""
    subject: str = ""
    client: str = ""
    scope: str = ""


@attrs.frozen
class TokenAccepted:
    """A token has let somebody in for the first time since the start, from an address.

    Attributes:
        principal: Whom.
        path: To what.
        address: Where the request came from.
    """

    principal: Principal
    path: str
    address: str


@attrs.frozen
class SessionTakenOver:
    """A session that was opened before a restart, or elsewhere, goes on here.

    Attributes:
        principal: Whose it is.
        revision: The revision that was agreed on.
        session: What the session is called.
    """

    principal: str
    revision: str
    session: str | None = attrs.field(default=None, eq=False)


@attrs.frozen
class SessionEnded(OfSession):
    """A session has ended for good, rather than with the process alone.

    Attributes:
        principal: Whose it was.
        session: What it was called.
    """

    side: ClassVar[SpanKind] = "server"

    principal: str
    session: str | None = attrs.field(default=None, eq=False)


@attrs.frozen
class SessionUnknown:
    """A request names a session that there is not, or not for its sender.

    Attributes:
        principal: Who has sent it.
        why: What is wrong with the session id, for the operator alone.
        session: What the session would be called.
    """

    principal: str
    why: str
    session: str | None = attrs.field(default=None, eq=False)


@attrs.frozen
class SessionNotNoted:
    """What has become of a session could not be written down: a restart will not know of it.

    Attributes:
        reason: What is wrong with the ledger.
    """

    reason: str
