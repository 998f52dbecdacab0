"""onemcp as an OAuth client of its backends (2026-07-28, Authorization).

Theory of operation: the transport asks `Credentials` for a token before each request, and for
another where one was refused; the request is then sent once more, for it was not processed. They
are also a child of the backend's supervisor, which renews tokens ahead of their end. Three kinds:
`BearerToken` reads what somebody else sees to, `ServiceLogin` has client credentials, and
`StoredLogin` uses what a person's `begin_login` has led to, out of the `LoginStore`.

Below these, `Flow` does the asking: discovery, registration, requests for tokens. What is asked
where, and what of the answers is believed, is decided by pure functions beneath it.
"""

from onemcp.backend.oauth._challenge import Challenge, read_challenge
from onemcp.backend.oauth._credentials import BearerToken, Credentials
from onemcp.backend.oauth._errors import LoginNeeded, NotNow, OAuthError
from onemcp.backend.oauth._fetch import Fetcher
from onemcp.backend.oauth._flow import Flow
from onemcp.backend.oauth._login import PendingLogin, begin_login
from onemcp.backend.oauth._records import LoginRecord, Registration, Tokens
from onemcp.backend.oauth._service import ServiceLogin
from onemcp.backend.oauth._store import LoginStore, StoredAt
from onemcp.backend.oauth._stored import StoredLogin
from onemcp.backend.oauth._waiting import WaitingLogin, WaitingLogins, digest, new_cookie

__all__ = [
    "BearerToken",
    "Challenge",
    "Credentials",
    "Fetcher",
    "Flow",
    "LoginNeeded",
    "LoginRecord",
    "LoginStore",
    "NotNow",
    "OAuthError",
    "PendingLogin",
    "Registration",
    "ServiceLogin",
    "StoredAt",
    "StoredLogin",
    "Tokens",
    "WaitingLogin",
    "WaitingLogins",
    "begin_login",
    "digest",
    "new_cookie",
    "read_challenge",
]
