import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import jwt
import pytest

from onemcp.auth import KeyStore, Principal, Resource, SigningKey, TokenVerifier
from onemcp.auth._scopes import parse_scopes
from onemcp.auth.server import (
    SERVICE,
    Audited,
    AuthorizationServer,
    Client,
    FetchClient,
    Form,
    Ledger,
    Origin,
    Person,
    Policy,
    digest,
)

ISSUER = "https://mcp.example.com"
REDIRECT = "http://127.0.0.1/callback"
VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
ADDRESS = "192.0.2.1"


def form(**fields: str | None) -> Form:
    return Form({name: value for name, value in fields.items() if value is not None})


def query_of(url: str) -> dict[str, str]:
    fields = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}


@attrs.define
class World:
    """An authorization server with a clock that stands still, and a client that does it right."""

    folder: Path
    now: float = 1_800_000_000.0
    audit: list[Audited] = attrs.field(factory=list)
    keys: KeyStore = attrs.field(factory=lambda: KeyStore([SigningKey.generate(1)]))
    server: AuthorizationServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = self.start()

    def start(self, fetch_client: FetchClient | None = None, **options: Any) -> AuthorizationServer:
        ledger = Ledger(self.folder, clock=lambda: self.now)
        policy = Policy(
            people={
                "ada": Person(name="ada"),
                "bob": Person(name="bob", scopes=parse_scopes(["backend:files"])),
            },
            clients={
                "app": Client(
                    id="app", name="The App", origin=Origin.CONFIGURED, redirect_uris=[REDIRECT]
                ),
                "other": Client(
                    id="other", name="Other", origin=Origin.CONFIGURED, redirect_uris=[REDIRECT]
                ),
                "robot": Client(
                    id="robot",
                    name="Robot",
                    origin=Origin.CONFIGURED,
                    grant_types=[SERVICE],
                    secret=digest("s" * 32),
                    scopes=parse_scopes(["backend:files", "backend:mail"]),
                ),
            },
        )
        return AuthorizationServer(
            self.keys,
            ledger,
            attrs.evolve(policy, **options),
            clock=lambda: self.now,
            audit=self.audit.append,
            fetch_client=fetch_client,
        )

    def asked(self, **changes: str | None) -> Form:
        fields = {
            "response_type": "code",
            "client_id": "app",
            "redirect_uri": "http://127.0.0.1:5000/callback",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": "mcp",
            "state": "xyz",
            "resource": f"{ISSUER}/mcp",
        }
        return form(**(fields | changes))

    async def code(self, subject: str = "ada", **changes: str | None) -> str:
        request = await self.server.begin(self.asked(**changes), ISSUER, ADDRESS)
        answer = query_of(self.server.agree(request, subject, request.scopes, ADDRESS))
        assert (answer["state"], answer["iss"]) == ("xyz", ISSUER)
        return answer["code"]

    async def redeem(self, made: str, /, **changes: str | None) -> dict[str, Any]:
        fields = {
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": made,
            "code_verifier": VERIFIER,
            "redirect_uri": "http://127.0.0.1:5000/callback",
            "resource": f"{ISSUER}/mcp",
        }
        return await self.token(**(fields | changes))

    async def refresh(self, token: str, **changes: str | None) -> dict[str, Any]:
        fields = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
        return await self.token(**(fields | changes))

    async def token(self, authorization: str | None = None, **fields: str | None) -> dict[str, Any]:
        return await self.server.token(form(**fields), authorization, ISSUER, ADDRESS)

    async def log_in(self, subject: str = "ada", **changes: str | None) -> dict[str, Any]:
        return await self.redeem(await self.code(subject, **changes))

    def lets_in(self, token: str, path: str = "/mcp") -> bool:
        verifier = TokenVerifier(self.keys, stands=self.server.stands)
        try:
            verifier.verify(token, self.now, Resource(ISSUER, path))
        except Exception:  # noqa: BLE001  (whatever it is)
            return False
        return True

    def principal(self, token: str) -> Principal:
        return TokenVerifier(self.keys).verify(token, self.now, Resource(ISSUER, "/mcp"))


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def encoded(**fields: str) -> bytes:
    return urlencode(fields).encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")
