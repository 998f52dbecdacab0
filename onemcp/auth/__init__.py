"""Room of onemcp: who may call, shown by signed tokens, and from where.

Keys live in the state directory (`load_or_create_keys`), tokens are signed with them
(`issue_token`) and checked (`TokenVerifier`), and a `Gate` reads a request's headers.
"""

from onemcp.auth._errors import (
    AuthError,
    BadRequest,
    Forbidden,
    InvalidToken,
    Reason,
    RequestRefused,
    Unauthorized,
)
from onemcp.auth._gate import Gate, Headers, Mode
from onemcp.auth._keys import KeyStore, SigningKey, load_or_create_keys
from onemcp.auth._local import local_verifier, new_token
from onemcp.auth._principal import ANONYMOUS, Principal
from onemcp.auth._tokens import TokenVerifier, issue_token

__all__ = [
    "ANONYMOUS",
    "AuthError",
    "BadRequest",
    "Forbidden",
    "Gate",
    "Headers",
    "InvalidToken",
    "KeyStore",
    "Mode",
    "Principal",
    "Reason",
    "RequestRefused",
    "SigningKey",
    "TokenVerifier",
    "Unauthorized",
    "issue_token",
    "load_or_create_keys",
    "local_verifier",
    "new_token",
]
