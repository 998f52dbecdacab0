"""Room of onemcp: who may call, shown by signed tokens, and from where.

Keys live in the state directory (`load_or_create_keys`), tokens are signed with them
(`issue_token`), those and the tokens of other issuers are checked (`TokenVerifier`), and a `Gate`
reads a request's headers.
"""

from onemcp.auth._errors import (
    AuthError,
    BadRequest,
    Forbidden,
    InsufficientScope,
    InvalidToken,
    Reason,
    RequestRefused,
    Unauthorized,
)
from onemcp.auth._gate import Gate, Mode, Presented, no_more
from onemcp.auth._issuers import ExternalIssuer
from onemcp.auth._jwks import MAX_JWKS_BYTES, KeySet, TrustedKey, parse_jwks
from onemcp.auth._keyfile import FILE_NAME as KEYS_FILE
from onemcp.auth._keyfile import (
    change_keys,
    load_keys,
    load_or_create_keys,
    reload_keys,
)
from onemcp.auth._keys import KeyStore, SigningKey
from onemcp.auth._metadata import resource_metadata, resource_path
from onemcp.auth._passwords import hash_password, is_hash
from onemcp.auth._principal import ANONYMOUS, Principal, owner
from onemcp.auth._resource import WELL_KNOWN_RESOURCE, Resource, canonical
from onemcp.auth._rotation import is_due, renewed, rotated
from onemcp.auth._scopes import ADMIN, Kind, Scope, parse_scopes, rights_of
from onemcp.auth._tokens import issue_token, new_token
from onemcp.auth._verifier import Token, TokenVerifier

__all__ = [
    "ADMIN",
    "ANONYMOUS",
    "KEYS_FILE",
    "MAX_JWKS_BYTES",
    "WELL_KNOWN_RESOURCE",
    "AuthError",
    "BadRequest",
    "ExternalIssuer",
    "Forbidden",
    "Gate",
    "InsufficientScope",
    "InvalidToken",
    "KeySet",
    "KeyStore",
    "Kind",
    "Mode",
    "Presented",
    "Principal",
    "Reason",
    "RequestRefused",
    "Resource",
    "Scope",
    "SigningKey",
    "Token",
    "TokenVerifier",
    "TrustedKey",
    "Unauthorized",
    "canonical",
    "change_keys",
    "hash_password",
    "is_due",
    "is_hash",
    "issue_token",
    "load_keys",
    "load_or_create_keys",
    "new_token",
    "no_more",
    "owner",
    "parse_jwks",
    "parse_scopes",
    "reload_keys",
    "renewed",
    "resource_metadata",
    "resource_path",
    "rights_of",
    "rotated",
]
