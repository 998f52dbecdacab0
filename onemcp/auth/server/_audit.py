"""What is written down about who was let in to what."""

from __future__ import annotations

import enum

import attrs


class What(enum.StrEnum):
    """What has happened."""

    LOGIN = "login"
    LOGIN_REFUSED = "login refused"
    CONSENT = "consent"
    CONSENT_REFUSED = "consent refused"
    REQUEST_REFUSED = "authorization request refused"
    TOKEN = "token issued"  # noqa: S105  (no password)
    TOKEN_REFUSED = "token refused"  # noqa: S105
    REGISTRATION = "client registered"
    REGISTRATION_REFUSED = "registration refused"
    REVOCATION = "revocation"
    INTROSPECTION = "introspection"
    BACKEND_LOGIN = "login at a server"
    BACKEND_LOGOUT = "logout at a server"
    BACKEND_LOGIN_REFUSED = "login at a server failed"
    CLIENT_REFUSED = "client refused"
    FORM_REFUSED = "form refused"
    MALFORMED = "malformed request refused"
    ACCESS = "token accepted"
    ACCESS_REFUSED = "access refused"
    SCOPE_REFUSED = "scope refused"
    KEYS = "signing keys changed"
    CONFIGURATION = "configuration changed"
    CONFIGURATION_REFUSED = "configuration refused"
    DEFINITION = "definition changed"


@attrs.frozen(kw_only=True)
class Audited:
    """One line of the audit log. Nothing in it opens anything.

    Attributes:
        what: What has happened.
        address: Where the request came from.
        client: The client's id, as far as it is known.
        client_name: What it is called.
        subject: The person.
        resource: What access is to.
        scopes: What was granted, or is needed.
        grant: The id of the consent.
        token: The id of an access token.
        how: By which means.
        reason: Why something was refused.
        by: The operator who has done it.
    """

    what: What
    address: str = ""
    client: str = ""
    client_name: str = ""
    subject: str = ""
    resource: str = ""
    scopes: str = ""
    grant: str = ""
    token: str = ""
    how: str = ""
    reason: str = ""
    by: str = ""
