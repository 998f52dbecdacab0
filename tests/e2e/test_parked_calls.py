"""Modern clients in front of a gateway whose backend is a real server of the handshake era."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import mcp_types as types
import pytest
import trio
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.support.clients import ACCEPT, META, MODERN, clients
from tests.support.eventually import eventually
from tests.support.npm import CHECKOUT
from tests.support.processes import Server, serving
from tests.support.sdk import on_asyncio

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings(f"ignore::{MCPDeprecationWarning.__module__}.MCPDeprecationWarning"),
]

REFERENCE = [sys.executable, str(CHECKOUT / "tests" / "reference" / "everything.py")]
LEGACY = "2025-11-25"
PREFIX = "test_input_required_result_"
PATIENCE = 60
"""Seconds that a whole test may take."""
ABLE = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
ACCEPTED = {"action": "accept", "content": {"name": "Ada", "color": "green"}}
SAMPLED = {"role": "assistant", "model": "none", "content": {"type": "text", "text": "Hello"}}
ROOTS = {"roots": [{"uri": "file:///home/ada"}]}
ANSWERS = {"elicitation/create": ACCEPTED, "sampling/createMessage": SAMPLED, "roots/list": ROOTS}
TOOLS = {
    "elicitation": ("Hello, Ada!", [1]),
    "sampling": ("Model said: Hello", [1]),
    "list_roots": ("Client roots: file:///home/ada", [1]),
    "multiple_inputs": ("Hello to Ada", [3]),
    "multi_round": ("Ada likes green.", [1, 1]),
}
"""What each tool says in the end, and how many questions it asks in each round."""


@pytest.fixture(scope="module", params=["stdio", "http"])
def gateway(request, tmp_path_factory) -> Iterator[Server]:
    if request.param == "stdio":
        program, *arguments = REFERENCE
        yield from _gateway(tmp_path_factory, {"command": program, "args": [*arguments, "--stdio"]})
    else:
        with serving([*REFERENCE, "--http", "0"]) as server:
            yield from _gateway(tmp_path_factory, {"url": server.url})


def _gateway(tmp_path_factory, backend: dict[str, Any]) -> Iterator[Server]:
    with _gateway_in(tmp_path_factory.mktemp("parked"), backend, 1.5) as server:
        yield server


@contextmanager
def _gateway_in(folder: Path, backend: dict[str, Any], parked_for: float) -> Iterator[Server]:
    config = folder / "onemcp.json"
    document = {
        "mcpServers": {"ref": {**backend, "prefix": "", "protocol": LEGACY}},
        "auth": {"mode": "none"},
        "limits": {"parkedFor": parked_for},
    }
    config.write_text(json.dumps(document))
    command = [sys.executable, "-m", "onemcp", "run", "--config", str(config), "--port", "0"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with serving(command, environment=environment) as server:
        trio.run(_until_listed, server.url)
        yield server


async def _until_listed(url: str) -> None:
    async with clients(url) as connected:
        client = connected.modern()

        async def is_listed() -> bool:
            return bool((await client.request("tools/list"))["result"]["tools"])

        await eventually(is_listed, "the backend is listed")


class Raw:
    """A client that sends what the specification shows, and takes answers as they come."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(timeout=PATIENCE)
        self._id = 0

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": ABLE}
        message = {
            "jsonrpc": "2.0",
            "id": self._id,
            "method": method,
            "params": {**params, "_meta": {**meta, **params.get("_meta", {})}},
        }
        headers = {
            "Accept": ACCEPT,
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": method,
            "Mcp-Name": params["name"],
        }
        response = await self.http.post(self.url, json=message, headers=headers)
        if response.headers["content-type"].startswith("text/event-stream"):
            data = [line[5:] for line in response.text.splitlines() if line.startswith("data:")]
            answer = json.loads(data[-1])
        else:
            answer = response.json()
        assert answer["id"] == self._id
        return answer

    async def ask(self, method: str, **params: Any) -> tuple[dict[str, Any], list[int]]:
        """Make a request and answer what is asked; return the result and what the rounds had."""
        rounds: list[int] = []
        result = (await self.request(method, **params))["result"]
        while result["resultType"] == "input_required":
            rounds.append(len(result["inputRequests"]))
            answers = {
                key: ANSWERS[question["method"]]
                for key, question in result["inputRequests"].items()
            }
            state = result["requestState"]
            answer = await self.request(
                method, **params, inputResponses=answers, requestState=state
            )
            result = answer["result"]
        return result, rounds


@pytest.mark.requirement("basic/transports/streamable-http#receiving-messages-2")
async def test_raw_requests_go_round_until_the_result(gateway: Server):
    with trio.fail_after(PATIENCE):
        client = Raw(gateway.url)
        async with client.http:
            for name, (said, expected) in TOOLS.items():
                result, rounds = await client.ask("tools/call", name=PREFIX + name, arguments={})
                assert result["content"][0]["text"] == said
                assert rounds == expected
            prompt, rounds = await client.ask("prompts/get", name=f"{PREFIX}prompt")
            assert prompt["messages"]
            assert rounds == [1]


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-4")
async def test_a_raw_retry_is_refused_when_it_is_used_or_tampered_with(gateway: Server):
    with trio.fail_after(PATIENCE):
        client = Raw(gateway.url)
        async with client.http:
            call = {"name": f"{PREFIX}elicitation", "arguments": {}}
            first = (await client.request("tools/call", **call))["result"]
            state = first["requestState"]
            retry = {**call, "inputResponses": dict.fromkeys(first["inputRequests"], ACCEPTED)}
            for odd in (state + "x", state[:-4]):
                answer = await client.request("tools/call", **retry, requestState=odd)
                assert answer["error"]["code"] == -32602
            done = await client.request("tools/call", **retry, requestState=state)
            assert done["result"]["content"][0]["text"] == "Hello, Ada!"
            answer = await client.request("tools/call", **retry, requestState=state)
            assert "has been used already" in answer["error"]["message"]


@on_asyncio
async def test_the_official_client_answers_and_never_notices(gateway: Server):
    async def elicit(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult.model_validate(ACCEPTED)

    async def sample(context: Any, params: Any) -> types.CreateMessageResult:
        return types.CreateMessageResult.model_validate(SAMPLED)

    async def list_roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate(ROOTS)

    with anyio.fail_after(PATIENCE):
        async with Client(
            gateway.url,
            mode="auto",
            cache=None,
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=list_roots,
        ) as client:
            assert client.protocol_version == MODERN
            for name, (said, _) in TOOLS.items():
                result = await client.call_tool(PREFIX + name, {})
                assert isinstance(result.content[0], types.TextContent)
                assert result.content[0].text == said
            assert (await client.get_prompt(f"{PREFIX}prompt")).messages


async def test_a_retry_that_comes_late_is_too_late(gateway: Server):
    with trio.fail_after(PATIENCE):
        client = Raw(gateway.url)
        async with client.http:
            call = {"name": f"{PREFIX}elicitation", "arguments": {}}
            state = (await client.request("tools/call", **call))["result"]["requestState"]
            await trio.sleep(2)
            answer = await client.request("tools/call", **call, requestState=state)
            assert "has expired" in answer["error"]["message"]


# --- a restart in between ----------------------------------------------------------------------

RESTARTED = {
    "a tool that may have acted": (
        "tools/call",
        PREFIX + "elicitation",
        "may or may not have acted",
    ),
    "a prompt, which is safe to make again": ("prompts/get", PREFIX + "prompt", "context: tea"),
}


@pytest.mark.parametrize(("method", "name", "said"), RESTARTED.values(), ids=RESTARTED)
def test_a_call_that_was_parked_before_a_restart(tmp_path, method: str, name: str, said: str):
    program, *arguments = REFERENCE
    backend = {"command": program, "args": [*arguments, "--stdio"]}
    gateway = partial(_gateway_in, tmp_path, backend, 600)
    with gateway() as server:
        parked = trio.run(_request, server.url, method, {"name": name})["result"]
        server.process.kill()
        server.process.wait()
    answers = {"action": "accept", "content": {"name": "Ada", "context": "tea"}}
    with gateway() as server:
        retry = {
            "name": name,
            "requestState": parked["requestState"],
            "inputResponses": dict.fromkeys(parked["inputRequests"], answers),
        }
        answer = trio.run(_request, server.url, method, retry)
        assert said in json.dumps(answer)
        assert ("result" in answer) == (method == "prompts/get")


async def _request(url: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    client = Raw(url)
    async with client.http:
        return await client.request(method, **params)
