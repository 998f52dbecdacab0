"""The official clients get in, with a real browser before the pages, and are kept in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from anyio import to_thread
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.oauth.conftest import PATIENCE, Browser
from tests.support import npm
from tests.support.sdk import on_asyncio

pytestmark = pytest.mark.interop
TYPESCRIPT = Path(__file__).parent / "programs" / "client.mjs"


class Memory:
    """Where the Python client keeps what it got."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def provider(url: str, browser: Browser, memory: Memory) -> OAuthClientProvider:
    answers: list[str] = []

    async def redirect(to: str) -> None:
        answers.append(await to_thread.run_sync(browser.let_in, to))

    async def callback() -> AuthorizationCodeResult:
        fields = {name: value for name, [value] in parse_qs(urlsplit(answers[-1]).query).items()}
        return AuthorizationCodeResult.model_validate(fields)

    metadata = OAuthClientMetadata(
        client_name="Python", redirect_uris=[browser.callback], token_endpoint_auth_method="none"
    )
    return OAuthClientProvider(url, metadata, memory, redirect, callback)


@pytest.mark.requirement("basic/authorization/index#protocol-requirements-1", "basic/index#auth-1")
@on_asyncio
async def test_the_python_client_logs_in_refreshes_and_loses_what_is_revoked(
    url: str, browser: Browser
) -> None:
    memory = Memory()
    auth = provider(url, browser, memory)

    async def tools() -> int:
        async with (
            httpx2.AsyncClient(auth=auth, timeout=PATIENCE) as http,
            Client(streamable_http_client(url, http_client=http), cache=None) as client,
        ):
            return len((await client.list_tools()).tools)

    browser.name = "bob"  # who may give away but one server
    original = browser.let_in

    def second_time_ada(to: str) -> str:
        location = original(to)
        browser.name = "ada"
        return location

    browser.let_in = second_time_ada  # type: ignore[method-assign]
    assert await tools() == 5
    assert [asked.splitlines()[-1] for asked in browser.asked] == [
        "Use all that the server demo offers",
    ]
    assert memory.tokens is not None
    assert memory.tokens.scope == "backend:demo", "what is granted is shown, and no more"

    first = memory.tokens
    auth.context.token_expiry_time = 1.0
    assert await tools() == 5
    assert memory.tokens.refresh_token != first.refresh_token
    assert len(browser.asked) == 1, "nobody is asked for a refresh"

    origin = url.removesuffix("/mcp")
    assert memory.client is not None
    async with httpx2.AsyncClient() as http:
        told = await http.post(
            f"{origin}/oauth/revoke",
            data={"token": memory.tokens.refresh_token, "client_id": memory.client.client_id},
        )
    assert told.status_code == 200
    assert await tools() == 5
    assert len(browser.asked) == 2, "what is revoked has to be granted again"


@on_asyncio
async def test_the_python_client_asks_for_more_where_it_may_have_it(
    url: str, browser: Browser
) -> None:
    memory = Memory()
    browser.name, browser.without = "cyd", ["tool:demo/add"]
    async with (
        httpx2.AsyncClient(auth=provider(url, browser, memory), timeout=PATIENCE) as http,
        Client(streamable_http_client(url, http_client=http), cache=None) as client,
    ):
        assert [tool.name for tool in (await client.list_tools()).tools] == ["demo__echo"]
        assert memory.tokens is not None
        assert memory.tokens.scope == "tool:demo/echo"
        browser.without = []
        added = await client.call_tool("demo__add", {"a": 1, "b": 2})
        assert added.structured_content == {"sum": 3}
        assert set((memory.tokens.scope or "").split()) == {"tool:demo/add", "tool:demo/echo"}
        assert len((await client.list_tools()).tools) == 2
    assert len(browser.asked) == 2
    assert "Call the tools add of the server demo" in browser.asked[1]


@pytest.mark.requirement("basic/authorization/index#protocol-requirements-1", "basic/index#auth-1")
def test_the_typescript_client_logs_in_refreshes_steps_up_and_loses_what_is_revoked(
    url: str, browser: Browser
) -> None:
    node = npm.installed()
    said = []
    with subprocess.Popen(
        [str(node.node), str(TYPESCRIPT), str(node.modules), url, browser.callback],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=node.environment(),
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        browser.name, browser.without = "cyd", ["tool:demo/add"]
        for line in client.stdout:
            told = json.loads(line)
            if "authorize" in told:
                client.stdin.write(browser.let_in(told["authorize"]) + "\n")
                client.stdin.flush()
                browser.without = []
            else:
                said.append(told)
    assert client.returncode == 0
    assert said == [
        {"did": "log in", "scope": "tool:demo/echo", "tools": 1},
        {"did": "refresh", "tools": 1, "replaced": True},
        {"did": "step up", "scope": "tool:demo/add tool:demo/echo", "sum": 3},
        {"did": "revoke", "status": 200},
        {"did": "log in again", "tools": 2},
    ]
    assert len(browser.asked) == 3
    assert "Call the tools add of the server demo" in browser.asked[1]
