"""Clients that call tools with words of their own, and look at whose words they are told.

Everything that a backend says in the course of a call holds the words of that call. Words begin
with their client's name, so that a message that went astray is known wherever it turns up.
"""

from __future__ import annotations

from collections import Counter

import httpx
import trio

from tests.support.clients import ACCEPT, LEGACY, META, MODERN, Message, events_of

ABLE = {"elicitation": {"form": {}}}
ASKS = "elicitation/create"
LATE = "no question with this id is open"
"""What an answer is told whose call has ended with its backend."""


class Astray(AssertionError):
    """A client was told what belongs to somebody else, or to nobody."""


class Refused(Exception):
    """A call was answered with a JSON-RPC error.

    Attributes:
        code: Its code.
        message: Its message.
    """

    def __init__(self, error: Message) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]


class Shooter:
    """A client with one call at a time.

    Attributes:
        name: What all of its words begin with.
        told: How many messages of which kind it was told.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, name: str, token: str) -> None:
        self.http = http
        self.url = url
        self.name = name
        self.told: Counter[str] = Counter()
        self.calls = 0
        self._headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}

    async def call(self, tool: str, key: str) -> str:
        """Call a tool with new words; return the text that it answers with.

        Args:
            tool: The tool's name.
            key: What its argument is called.

        Raises:
            Refused: It was answered with an error.
            Astray: It was told what belongs to somebody else.
        """
        self.calls += 1
        words = f"<{self.name}:{self.calls}>"
        text = await self._call(tool, {key: words}, words)
        if words not in text:
            raise Astray(f"{words} was answered with {text!r}")
        return text

    async def _call(self, tool: str, arguments: Message, words: str) -> str:
        raise NotImplementedError

    def _answer(self, told: list[Message], words: str) -> Message:
        """Return the answer to a call, which came last, and check what came before."""
        assert told, f"{words} was not answered"
        *others, answer = told
        assert answer["id"] == words, answer
        for message in others:
            self._check(message, words)
        return answer

    def _check(self, message: Message, words: str) -> None:
        """Make sure that a message of a call is the call's own."""
        self.told[message["method"]] += 1
        if words not in str(message.get("params")):
            raise Astray(f"{words} was told {message}")

    @staticmethod
    def _text(answer: Message) -> str:
        if "error" in answer:
            raise Refused(answer["error"])
        return str(answer["result"]["content"][0]["text"])

    def _said(self, words: str) -> Message:
        return {"action": "accept", "content": {"said": words, "username": words, "email": words}}


class ModernShooter(Shooter):
    """A client of 2026-07-28."""

    async def _call(self, tool: str, arguments: Message, words: str) -> str:
        params: Message = {"name": tool, "arguments": arguments}
        while True:
            result = await self._request(params, words)
            if "error" in result or result["result"].get("resultType") != "input_required":
                return self._text(result)
            asked = result["result"]
            for question in asked["inputRequests"].values():
                self._check(question, words)
            said = {key: self._said(words) for key in asked["inputRequests"]}
            state = {key: asked[key] for key in ("requestState",) if key in asked}
            params = {**params, "inputResponses": said, **state}

    async def _request(self, params: Message, words: str) -> Message:
        meta = {
            META + "protocolVersion": MODERN,
            META + "clientCapabilities": ABLE,
            META + "clientInfo": {"name": self.name, "version": "1"},
            META + "logLevel": "debug",
            "progressToken": words,
        }
        headers = {
            **self._headers,
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": "tools/call",
            "Mcp-Name": params["name"],
        }
        message = {"jsonrpc": "2.0", "id": words, "method": "tools/call"}
        message["params"] = {**params, "_meta": meta}
        async with self.http.stream("POST", self.url, json=message, headers=headers) as response:
            return self._answer([event async for event in events_of(response)], words)


class LegacyShooter(Shooter):
    """A client of 2025-11-25, which listens to its session all the time."""

    async def open(self) -> None:
        """Open the session."""
        params = {
            "protocolVersion": LEGACY,
            "capabilities": ABLE,
            "clientInfo": {"name": self.name, "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        response = await self.http.post(self.url, json=message, headers=self._headers)
        assert response.status_code == 200, response.text
        session = response.headers["mcp-session-id"]
        self._headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY}
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        level = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel"}
        await self._post({**level, "params": {"level": "debug"}})

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at what comes outside of calls, until cancelled."""
        async with self.http.stream("GET", self.url, headers=self._headers) as response:
            assert response.status_code == 200, response.status_code
            task_status.started()
            async for event in events_of(response):
                self.told[event["method"]] += 1
                if "<" in str(event) and f"<{self.name}:" not in str(event):
                    raise Astray(f"{self.name} was told {event}")

    async def _call(self, tool: str, arguments: Message, words: str) -> str:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": words}}
        message = {"jsonrpc": "2.0", "id": words, "method": "tools/call", "params": params}
        async with self.http.stream(
            "POST", self.url, json=message, headers=self._headers
        ) as response:
            told = []
            async for event in events_of(response):
                told.append(event)
                if event.get("method") == ASKS:
                    answer = {"jsonrpc": "2.0", "id": event["id"], "result": self._said(words)}
                    await self._post(answer, LATE)
        return self._text(self._answer(told, words))

    async def _post(self, message: Message, *tolerated: str) -> None:
        response = await self.http.post(self.url, json=message, headers=self._headers)
        if response.status_code not in {200, 202}:
            assert response.json()["error"]["message"] in tolerated, (message, response.text)
