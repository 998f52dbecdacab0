"""A whole gateway whose users each have a backend for themselves, over real sockets."""

from __future__ import annotations

import contextlib
import json

import httpx
import trio

from onemcp import config
from onemcp.app import Access, Gateway
from onemcp.app.durable import open_durable
from onemcp.auth import load_or_create_keys, new_token
from onemcp.backend.oauth import LoginRecord, Registration, StoredAt, Tokens
from tests.backend.http.servers import Modern, Visit, serving

LIMIT = 30
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Notes(Modern):
    """A server that knows its users by their tokens: each has a tool called after them."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, str]] = []

    async def post(self, visit: Visit) -> None:
        _, _, token = visit.headers.get("authorization", "").partition("token-of-")
        if not token:
            await visit.answer(401, b"no", "text/plain", ("www-authenticate", "Bearer"))
            return
        self.called.append((visit.what, token))
        if visit.what == "server/discover":
            capabilities = {"tools": {}}
            await visit.result({"supportedVersions": ["2026-07-28"], "capabilities": capabilities})
        elif visit.what == "tools/list":
            await visit.result({"tools": [{"name": token, "inputSchema": {"type": "object"}}]})
        else:
            await visit.result({"content": [{"type": "text", "text": token}]})


class World:
    """A gateway, and clients of its users."""

    def __init__(self, gateway: Gateway, durable, keys, url: str, notes: Notes) -> None:
        self.gateway, self.durable, self.url, self.notes = gateway, durable, url, notes
        self._keys = keys

    def place(self, user: str) -> StoredAt:
        return StoredAt(self.durable.logins.open(), "notes", self.url, user)

    def log_in(self, user: str) -> None:
        tokens = Tokens(f"token-of-{user}")
        client = Registration("https://id.example.com", "me")
        record = LoginRecord(
            "notes", self.url, self.url, f"{self.url}/token", client, tokens, user=user
        )
        self.place(user).change(lambda _: record)

    async def ask(self, user: str, method: str, **params) -> dict:
        headers = {
            "Authorization": f"Bearer {new_token(self._keys, user, 60.0)}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **({"Mcp-Name": params["name"]} if "name" in params else {}),
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
        async with httpx.AsyncClient(timeout=LIMIT) as client:
            return (await client.post(self.gateway.url, json=body, headers=headers)).json()

    async def tools(self, user: str) -> list[str]:
        answer = await self.ask(user, "tools/list")
        return [tool["name"] for tool in answer.get("result", {}).get("tools", ())]


@contextlib.asynccontextmanager
async def world(folder):
    notes, state = Notes(), folder / "state"
    async with serving(notes) as url:
        file = folder / "onemcp.json"
        each = {"url": url, "auth": {"per": "user", "userIdle": 600}}
        settings = {"mcpServers": {"notes": each}, "server": {"port": 0, "shutdownGrace": 0.5}}
        file.write_text(json.dumps(settings))
        configuration = config.load(file)
        keys = load_or_create_keys(state)
        access = Access(lambda: load_or_create_keys(state), state)
        await access.prepare(configuration)
        with contextlib.closing(await open_durable(state, None, lambda _: None)) as durable:
            gateway = Gateway(configuration, access=access, durable=durable)
            with trio.fail_after(LIMIT):
                async with trio.open_nursery() as nursery:
                    await nursery.start(gateway.run)
                    yield World(gateway, durable, keys, url, notes)
                    await gateway.stop()


async def test_each_user_is_known_to_the_server_by_their_own_login(tmp_path):
    async with world(tmp_path) as at:
        for user in ("ada", "bob"):
            at.log_in(user)
        assert await at.tools("ada") == ["notes__ada"]
        assert await at.tools("bob") == ["notes__bob"]
        answer = await at.ask("bob", "tools/call", name="notes__bob", arguments={})
        assert answer["result"]["content"][0]["text"] == "bob"
        refused = await at.ask("bob", "tools/call", name="notes__ada", arguments={})
        assert "Unknown tool" in refused["error"]["message"]
        assert ("tools/call", "ada") not in at.notes.called


async def test_a_login_and_a_logout_count_at_once(tmp_path):
    async with world(tmp_path) as at:
        assert await at.tools("ada") == []
        refused = await at.ask("ada", "tools/call", name="notes__ada", arguments={})
        page = at.gateway.url.removesuffix("/mcp") + "/oauth/connect/notes"
        assert refused["error"]["code"] == -33010
        assert refused["error"]["data"] == {"backend": "notes", "url": page}
        assert page in refused["error"]["message"]
        async with httpx.AsyncClient() as browser:
            assert "log in at" in (await browser.get(page)).text, "there is such a page"
        at.log_in("ada")
        while not await at.tools("ada"):  # noqa: ASYNC110
            await trio.sleep(0.1)
        backend = at.gateway.multiplexer.backend("notes", "ada")
        assert backend is not None
        assert backend.is_up
        assert at.place("ada").forget()
        while backend.is_up:  # noqa: ASYNC110
            await trio.sleep(0.1)
        refused = await at.ask("ada", "tools/call", name="notes__ada", arguments={})
        assert refused["error"]["code"] == -33010
