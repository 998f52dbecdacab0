"""A backend and its authorization servers without a network, behind a `Fetcher` that asks them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import trio

from onemcp.backend.oauth import Fetcher, Flow
from onemcp.backend.oauth._fetch import Fetched
from onemcp.config import Tls

URL = "https://mcp.example.com/mcp"
ISSUER = "https://id.example.com"
PRM = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
SERVER = f"{ISSUER}/.well-known/oauth-authorization-server"
TOKEN = f"{ISSUER}/token"
REGISTER = f"{ISSUER}/register"
REDIRECT = "http://127.0.0.1:4711/callback"


def server_metadata(issuer: str = ISSUER, **more: Any) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        **more,
    }


class World(Fetcher):
    """Answers by URL.

    Attributes:
        pages: What is where: a status and a JSON value; anything else is not found.
        asked: What has been asked for.
        forms: The forms that were posted.
        delay: How long an answer takes, in seconds.
    """

    def __init__(self, **resource: Any) -> None:
        super().__init__(Tls(), URL)
        self.pages: dict[str, tuple[int, Any]] = {
            PRM: (200, {"resource": URL, "authorization_servers": [ISSUER], **resource}),
            SERVER: (200, server_metadata()),
            REGISTER: (201, {"client_id": "registered"}),
            TOKEN: (200, {"access_token": "t1", "token_type": "Bearer", "expires_in": 3600}),
        }
        self.challenge = f'Bearer resource_metadata="{PRM}"'
        self.asked: list[tuple[str, str]] = []
        self.requests: list[httpx.Request] = []
        self.forms: list[dict[str, str]] = []
        self.delay = 0.0

    async def _send(self, request: httpx.Request) -> Fetched:
        await trio.sleep(self.delay)
        url = str(request.url)
        self.asked.append((request.method, url))
        self.requests.append(request)
        if request.headers.get("content-type", "").endswith("urlencoded"):
            fields = parse_qs(request.content.decode())
            self.forms.append({name: value for name, (value,) in fields.items()})
        if url == URL:
            return Fetched(401, self.challenge, b"")
        status, value = self.pages.get(url, (404, {}))
        return Fetched(
            status, "", value if isinstance(value, bytes) else json.dumps(value).encode()
        )

    def flow(self, url: str = URL) -> Flow:
        return Flow(url, self, now=trio.current_time)

    def body(self, url: str) -> Any:
        (request,) = (each for each in self.requests if str(each.url) == url)
        return json.loads(request.content)
