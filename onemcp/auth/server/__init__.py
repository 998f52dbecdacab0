"""The authorization server's decisions, without HTTP: who may do what, for how long.

:class:`AuthorizationServer` puts the parts together: clients (:mod:`._clients`, :mod:`._registry`,
:mod:`._registration`), people (:mod:`._people`), what is asked for (:mod:`._authorization`) and
given (:mod:`._codes`, :mod:`._issuing`), and what is remembered (:mod:`._records`,
:mod:`._ledger`).
"""

from __future__ import annotations

from onemcp.auth.server._audit import Audited, What
from onemcp.auth.server._auditfile import AUDIT_FILE, AuditFile
from onemcp.auth.server._authorization import AuthorizationRequest
from onemcp.auth.server._clients import CODE, REFRESH, SERVICE, Client, Origin
from onemcp.auth.server._documents import Documents
from onemcp.auth.server._errors import OAuthError, RedirectedError, TooManyRequests
from onemcp.auth.server._forms import MAX_FORM_BYTES, Form
from onemcp.auth.server._ledger import Ledger, change_records, read_records
from onemcp.auth.server._metadata import (
    AUTHORIZE,
    INTROSPECT,
    JWKS,
    REGISTER,
    REVOKE,
    TOKEN,
    WELL_KNOWN,
    server_metadata,
)
from onemcp.auth.server._people import LogIn, LoginCode
from onemcp.auth.server._policy import EVERYTHING, OPERATOR, Person, Policy
from onemcp.auth.server._records import (
    ALL,
    Change,
    Grant,
    Records,
    Registration,
    TokenRecord,
    digest,
    of_client,
    of_user,
)
from onemcp.auth.server._redirects import fault_of, is_loopback, origin_of
from onemcp.auth.server._registration import MAX_DOCUMENT_BYTES, described, read_object
from onemcp.auth.server._registry import FetchClient
from onemcp.auth.server._server import AuthorizationServer, answer_error

__all__ = [
    "ALL",
    "AUDIT_FILE",
    "AUTHORIZE",
    "CODE",
    "EVERYTHING",
    "INTROSPECT",
    "JWKS",
    "MAX_DOCUMENT_BYTES",
    "MAX_FORM_BYTES",
    "OPERATOR",
    "REFRESH",
    "REGISTER",
    "REVOKE",
    "SERVICE",
    "TOKEN",
    "WELL_KNOWN",
    "AuditFile",
    "Audited",
    "AuthorizationRequest",
    "AuthorizationServer",
    "Change",
    "Client",
    "Documents",
    "FetchClient",
    "Form",
    "Grant",
    "Ledger",
    "LogIn",
    "LoginCode",
    "OAuthError",
    "Origin",
    "Person",
    "Policy",
    "Records",
    "RedirectedError",
    "Registration",
    "TokenRecord",
    "TooManyRequests",
    "What",
    "answer_error",
    "change_records",
    "described",
    "digest",
    "fault_of",
    "is_loopback",
    "of_client",
    "of_user",
    "origin_of",
    "read_object",
    "read_records",
    "server_metadata",
]
