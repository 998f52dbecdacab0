import base64
import json

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from onemcp.auth import KeyStore, Resource, SigningKey, TokenVerifier, issue_token

NOW = 1_800_000_000.0
AUDIENCE = "http://127.0.0.1:8722/mcp"
ISSUER = "http://127.0.0.1:8722"
HERE = Resource(ISSUER, "/mcp")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@attrs.frozen
class Forge:
    """Builds tokens by hand: what is right unless told otherwise."""

    keys: KeyStore
    now: float = NOW
    audience: str = AUDIENCE
    issuer: str = ISSUER
    here: Resource = HERE

    def header(self, **changes) -> dict:
        return {"alg": "EdDSA", "typ": "at+jwt", "kid": self.keys.newest.key_id} | changes

    def claims(self, **changes) -> dict:
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "client_id": "onemcp",
            "scope": "mcp",
            "jti": "id-1",
            "iat": int(NOW),
            "nbf": int(NOW),
            "exp": int(NOW) + 60,
        } | changes

    def sign(
        self,
        header: dict | None = None,
        claims: object = None,
        private: Ed25519PrivateKey | None = None,
    ) -> str:
        payload = claims if isinstance(claims, bytes) else json.dumps(claims or self.claims())
        payload = payload if isinstance(payload, bytes) else payload.encode()
        signed = f"{b64(json.dumps(header or self.header()).encode())}.{b64(payload)}"
        return f"{signed}.{b64((private or self.keys.newest.private).sign(signed.encode()))}"

    def issue(self, **changes) -> str:
        arguments = {
            "subject": "ada",
            "lifetime": 60,
            "audience": AUDIENCE,
            "issuer": ISSUER,
            "now": NOW,
        }
        return issue_token(self.keys, **(arguments | changes))


@pytest.fixture(scope="session")
def keys() -> KeyStore:
    return KeyStore([SigningKey.generate(1_700_000_000)])


@pytest.fixture(scope="session")
def forge(keys: KeyStore) -> Forge:
    return Forge(keys)


@pytest.fixture
def verifier(keys: KeyStore) -> TokenVerifier:
    return TokenVerifier(keys, skew=30.0)
