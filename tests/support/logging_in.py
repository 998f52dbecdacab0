"""Logging in at a running onemcp: a client, and a person with a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import httpx

from tests.support.passwords import hashed
from tests.support.person import Person
from tests.support.running import Gateway, running

PASSWORD = "correct horse battery"
CALLBACK = "http://127.0.0.1:49152/callback"
DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}
HANDSHAKE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}},
}


def settings(**auth: Any) -> dict[str, Any]:
    users = {
        "ada": {"password": hashed(PASSWORD)},
        "bob": {"password": hashed(PASSWORD), "scopes": ["backend:demo"]},
    }
    return {"mcpServers": {"demo": DEMO}, "auth": {"users": users, **auth}}


@attrs.define
class World:
    """A running gateway, a person and a client of theirs."""

    gateway: Gateway
    folder: Path
    person: Person
    web: httpx.AsyncClient
    client_id: str = ""
    verifier: str = ""
    metadata: dict[str, Any] = attrs.field(factory=dict)

    @property
    def origin(self) -> str:
        return self.gateway.url.removesuffix("/mcp")

    @property
    def state(self) -> Path:
        return self.folder / "state" / "onemcp"

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.state / "audit.log").read_text().splitlines()]

    async def discover(self, path: str = "/mcp") -> dict[str, Any]:
        """Follow the way from a 401 to the authorization server; return the resource's metadata."""
        refused = await self.call(path=path)
        assert refused.status_code == 401
        challenge = refused.headers["www-authenticate"]
        url = challenge.partition('resource_metadata="')[2].partition('"')[0]
        resource = (await self.web.get(url)).json()
        [issuer] = resource["authorization_servers"]
        well_known = f"{issuer}/.well-known/oauth-authorization-server"
        self.metadata = (await self.web.get(well_known)).json()
        assert self.metadata["issuer"] == issuer
        return resource

    async def register(self, **changes: Any) -> dict[str, Any]:
        document = {
            "client_name": "Test <client>",
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        answer = await self.web.post(
            self.metadata["registration_endpoint"], json=document | changes
        )
        assert answer.status_code == 201
        self.client_id = answer.json()["client_id"]
        return answer.json()

    def authorization_url(self, **changes: str) -> str:
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        fields = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": "s t&te",
            "scope": "mcp",
            "resource": f"{self.origin}/mcp",
        }
        return f"{self.metadata['authorization_endpoint']}?{urlencode(fields | changes)}"

    async def token(self, **fields: str) -> httpx.Response:
        fields = {"client_id": self.client_id, **fields}
        return await self.web.post(self.metadata["token_endpoint"], data=fields)

    async def redeem(self, location: str) -> dict[str, Any]:
        assert location.startswith(f"{CALLBACK}?")
        answer = {name: value for name, [value] in parse_qs(urlsplit(location).query).items()}
        assert (answer["state"], answer["iss"]) == ("s t&te", self.origin)
        told = await self.token(
            grant_type="authorization_code",
            code=answer["code"],
            code_verifier=self.verifier,
            redirect_uri=CALLBACK,
        )
        assert told.status_code == 200, told.text
        assert told.headers["cache-control"] == "no-store"
        return told.json()

    async def log_in(self, name: str = "ada", **changes: str) -> dict[str, Any]:
        url = self.authorization_url(**changes)
        return await self.redeem(await self.person.log_in_and_allow(url, name, PASSWORD))

    async def call(self, token: str | None = None, path: str = "/mcp") -> httpx.Response:
        headers = {"accept": "application/json, text/event-stream"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self.web.post(f"{self.origin}{path}", json=HANDSHAKE, headers=headers)


@asynccontextmanager
async def world(folder: Path, **auth: Any) -> AsyncIterator[World]:
    environ = {"XDG_STATE_HOME": str(folder / "state")}
    async with (
        running(folder / "onemcp.json", settings(**auth), environ=environ) as gateway,
        httpx.AsyncClient(timeout=30) as web,
    ):
        person = Person()
        made = World(gateway, folder, person, web)
        try:
            yield made
        finally:
            await person.aclose()
