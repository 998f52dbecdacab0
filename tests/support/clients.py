"""Clients of both eras, as plain as can be: every answer is looked at as it comes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

Message = dict[str, Any]
Notifications = trio.MemoryReceiveChannel[dict[str, Any]]

ACCEPT = "application/json, text/event-stream"
META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
EVERYTHING_CHANGED = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": True,
}


class ToolError(Exception):
    """A call was answered with a JSON-RPC error.

    Attributes:
        code: Its code.
        message: Its message.
    """

    def __init__(self, error: Message) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]


class _Http:
    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url
        self._ids = itertools.count(1)

    async def request(self, method: str, params: Message | None = None) -> Message:
        raise NotImplementedError

    async def call(self, tool: str, **arguments: Any) -> str:
        """Call a tool; return the text that it answers with.

        Raises:
            ToolError: It was answered with an error.
        """
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            raise ToolError(answer["error"])
        return str(answer["result"]["content"][0]["text"])

    async def tools(self) -> list[str]:
        """Return the names of all tools."""
        answer = await self.request("tools/list")
        return [tool["name"] for tool in answer["result"]["tools"]]

    async def _post(self, message: Message, headers: dict[str, str]) -> tuple[int, list[Message]]:
        async with self.http.stream(
            "POST", self.url, json=message, headers={"Accept": ACCEPT, **headers}
        ) as response:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return response.status_code, [event async for event in events_of(response)]
            body = await response.aread()
        return response.status_code, [json.loads(body)] if body else []

    @asynccontextmanager
    async def _stream(
        self, method: str, headers: dict[str, str], **options: Any
    ) -> AsyncIterator[Notifications]:
        send, receive = trio.open_memory_channel[Message](math.inf)

        async def read(*, task_status: trio.TaskStatus[None]) -> None:
            # Ended by cancellation alone, for generators that are left half-way complain.
            headers_ = {"Accept": ACCEPT, **headers}
            async with (
                self.http.stream(method, self.url, headers=headers_, **options) as response,
                send,
            ):
                assert response.status_code == 200, response.status_code
                task_status.started()
                async for event in events_of(response):
                    await send.send(event)

        async with trio.open_nursery() as nursery:
            await nursery.start(read)
            yield receive
            nursery.cancel_scope.cancel()

    def _answer(self, request_id: int, messages: list[Message]) -> Message:
        answers = [each for each in messages if "method" not in each]
        assert len(answers) == 1, messages
        assert answers[0]["id"] == request_id, answers
        assert ("result" in answers[0]) != ("error" in answers[0]), answers
        return answers[0]


class ModernClient(_Http):
    """A client of 2026-07-28: every request is complete in itself.

    Attributes:
        capabilities: What it says that it can be asked.
    """

    def __init__(
        self, http: httpx.AsyncClient, url: str, capabilities: Message | None = None
    ) -> None:
        super().__init__(http, url)
        self.capabilities = capabilities or {}

    def _request(self, method: str, params: Message | None) -> tuple[Message, dict[str, str]]:
        meta = {
            META + "protocolVersion": MODERN,
            META + "clientCapabilities": self.capabilities,
            META + "clientInfo": {"name": "test", "version": "1"},
        }
        params = {**(params or {}), "_meta": meta}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        return message, headers

    async def request(self, method: str, params: Message | None = None) -> Message:
        message, headers = self._request(method, params)
        return self._answer(message["id"], (await self._post(message, headers))[1])

    @asynccontextmanager
    async def notifications(self) -> AsyncIterator[Notifications]:
        """Listen to changes of all lists; acknowledged when the block is entered."""
        message, headers = self._request(
            "subscriptions/listen", {"notifications": EVERYTHING_CHANGED}
        )
        async with self._stream("POST", headers, json=message) as notifications:
            first = await notifications.receive()
            assert first["method"] == "notifications/subscriptions/acknowledged"
            yield notifications


class LegacyClient(_Http):
    """A client of 2025-11-25, with a session."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        super().__init__(http, url)
        self.session = ""

    async def open(self) -> LegacyClient:
        """Open the session."""
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        response = await self.http.post(self.url, json=message, headers={"Accept": ACCEPT})
        assert response.status_code == 200, response.text
        self.session = response.headers["mcp-session-id"]
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, self._headers)
        return self

    @property
    def _headers(self) -> dict[str, str]:
        return {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": LEGACY}

    async def request(self, method: str, params: Message | None = None) -> Message:
        message = {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": params or {},
        }
        return self._answer(message["id"], (await self._post(message, self._headers))[1])

    @asynccontextmanager
    async def notifications(self) -> AsyncIterator[Notifications]:
        """Open the session's own stream."""
        headers = {**self._headers, "Accept": "text/event-stream"}
        async with self._stream("GET", headers) as notifications:
            yield notifications

    async def close(self) -> None:
        """End the session."""
        response = await self.http.delete(self.url, headers=self._headers)
        assert response.status_code == 204


async def events_of(response: httpx.Response) -> AsyncIterator[Message]:
    """Yield the messages of a stream, passing over what carries none, or of a body of JSON."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield json.loads(await response.aread())
        return
    data: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            text, data = "\n".join(data), []
            if text:
                yield json.loads(text)


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[Clients]:
    """Make clients of one endpoint."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=None, limits=limits) as http:  # noqa: S113 - scopes bound it
        yield Clients(http, url)


class Clients:
    """Makes clients that share a pool of connections."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url

    def modern(self, path: str = "", capabilities: Message | None = None) -> ModernClient:
        return ModernClient(self.http, self.url + path, capabilities)

    async def legacy(self, path: str = "") -> LegacyClient:
        return await LegacyClient(self.http, self.url + path).open()

    async def of(self, era: str, path: str = "") -> ModernClient | LegacyClient:
        return self.modern(path) if era == "modern" else await self.legacy(path)
