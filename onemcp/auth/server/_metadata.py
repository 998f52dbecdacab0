"""What the authorization server tells about itself (RFC 8414, OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from typing import Any, Final

from onemcp.auth.server import _pkce as pkce
from onemcp.auth.server._issuing import GRANT_TYPES
from onemcp.auth.server._policy import Policy
from onemcp.auth.server._registration import AUTH_METHODS

WELL_KNOWN: Final = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)
"""The issuer has no path, so neither have these."""

AUTHORIZE: Final = "/oauth/authorize"
TOKEN: Final = "/oauth/token"  # noqa: S105  (a path)
REGISTER: Final = "/oauth/register"
REVOKE: Final = "/oauth/revoke"
INTROSPECT: Final = "/oauth/introspect"
JWKS: Final = "/oauth/jwks"


def server_metadata(issuer: str, policy: Policy) -> dict[str, Any]:
    """Describe the authorization server (RFC 8414, section 2; MCP, "Discovery").

    Args:
        issuer: Its identifier: the origin that the client uses.
        policy: What the operator wants.
    """
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}{AUTHORIZE}",
        "token_endpoint": f"{issuer}{TOKEN}",
        "revocation_endpoint": f"{issuer}{REVOKE}",
        "introspection_endpoint": f"{issuer}{INTROSPECT}",
        "jwks_uri": f"{issuer}{JWKS}",
        "scopes_supported": ["mcp", "mcp:read"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": list(AUTH_METHODS[1:]),
        "code_challenge_methods_supported": [pkce.METHOD],
        "authorization_response_iss_parameter_supported": True,
    }
    if policy.documents:
        document["client_id_metadata_document_supported"] = True
    if policy.registration:
        document["registration_endpoint"] = f"{issuer}{REGISTER}"
    return document
