"""The reference server does what it is for, in both eras and on both transports.

The conformance suite takes many an answer without looking at it; here they are compared.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.support.processes import serving
from tests.support.sdk import on_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    Connect = Callable[..., AbstractAsyncContextManager[Client]]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings(f"ignore::{MCPDeprecationWarning.__module__}.MCPDeprecationWarning"),
]

SCRIPT = Path(__file__).with_name("everything.py")
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}
PATIENCE = 10
"""Seconds that a whole test may take."""
PREFIX = "test_input_required_result_"
ANSWERS = {
    ("test_sampling", "prompt"): "LLM response: sampled",
    ("test_elicitation", "message"): 'User response: action=accept, content={"name": "Ada"}',
    ("test_elicitation_sep1034_defaults",): "Elicitation completed: "
    'action=accept, content={"name": "Ada"}',
    ("test_streaming_elicitation",): 'Streaming complete: action=accept, content={"name": "Ada"}',
    (f"{PREFIX}elicitation",): "Hello, Ada!",
    (f"{PREFIX}sampling",): "Model said: sampled",
    (f"{PREFIX}list_roots",): "Client roots: file:///root",
    (f"{PREFIX}request_state",): 'state-ok: action=accept, content={"name": "Ada"}',
    (f"{PREFIX}multiple_inputs",): "sampled to Ada",
    (f"{PREFIX}multi_round",): "Ada likes None.",
    (f"{PREFIX}tampered_state",): "state-ok: sealed",
    (f"{PREFIX}capabilities",): "Answered: ask, sample",
}


async def _elicit(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def _sample(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="made-up")


async def _list_roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///root")])


def _text(result: types.CallToolResult) -> str:
    content = result.content[0]
    assert isinstance(content, types.TextContent)
    return content.text


@pytest.fixture(scope="module", params=["stdio", "http"])
def target(request) -> Iterator[StdioServerParameters | str]:
    if request.param == "stdio":
        yield StdioServerParameters(command=sys.executable, args=[str(SCRIPT), "--stdio"])
    else:
        with serving([sys.executable, str(SCRIPT), "--http", "0"]) as server:
            yield server.url


@pytest.fixture(params=MODES)
def connect(request, target) -> Connect:
    @asynccontextmanager
    async def connected(**options: Any) -> AsyncIterator[Client]:
        with anyio.fail_after(PATIENCE):
            async with Client(target, mode=request.param, cache=None, **options) as client:
                assert client.protocol_version == MODES[request.param]
                yield client

    return connected


@on_asyncio
async def test_asking_tools_put_the_answers_to_use(connect):
    async with connect(
        elicitation_callback=_elicit, sampling_callback=_sample, list_roots_callback=_list_roots
    ) as client:
        answers = {
            (tool, *names): _text(await client.call_tool(tool, dict.fromkeys(names, "question")))
            for tool, *names in ANSWERS
        }
    assert answers == ANSWERS


@on_asyncio
async def test_tool_that_needs_a_missing_capability_is_refused(connect):
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("test_missing_capability", {})
    assert caught.value.error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert caught.value.error.data == {"requiredCapabilities": {"sampling": {}}}


@on_asyncio
async def test_progress_arrives_in_order(connect):
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with connect() as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=note)
    assert seen == [0, 50, 100]


@on_asyncio
async def test_logs_arrive_when_they_are_asked_for(connect):
    seen: list[Any] = []

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        seen.append(params.data)

    async with connect(logging_callback=note, log_level="info") as client:
        await client.call_tool("test_logging_tool", {})
    assert seen == ["Diagnostic trace logging activated"]


@on_asyncio
async def test_unknown_names_are_errors_of_the_era(connect):
    async with connect() as client:
        modern = client.protocol_version == MODES["auto"]
        with pytest.raises(MCPError) as of_tool:
            await client.call_tool("no_such_tool", {})
        with pytest.raises(MCPError) as of_resource:
            await client.read_resource("test://no-such-resource")
    assert of_tool.value.error.code == types.INVALID_PARAMS
    assert of_resource.value.error.code == (types.INVALID_PARAMS if modern else -32002)
    assert of_resource.value.error.data == {"uri": "test://no-such-resource"}


@on_asyncio
async def test_trigger_changes_the_list_of_tools_and_says_so(connect):
    heard = anyio.Event()

    async def note(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async with connect(message_handler=note) as client:
        before = {tool.name for tool in (await client.list_tools()).tools}
        if client.protocol_version == MODES["auto"]:
            async with client.listen(tools_list_changed=True) as subscription:
                await client.call_tool("test_trigger_tool_change", {})
                await anext(aiter(subscription))
        else:
            await client.call_tool("test_trigger_tool_change", {})
            await heard.wait()
        after = {tool.name for tool in (await client.list_tools()).tools}
    assert before ^ after == {"test_dynamic_tool"}


@on_asyncio
async def test_subscribers_hear_of_an_updated_resource(connect):
    heard = anyio.Event()
    uri = "test://watched-resource"

    async def note(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification) and message.params.uri == uri:
            heard.set()

    async with connect(message_handler=note) as client:
        if client.protocol_version == MODES["auto"]:
            async with client.listen(resource_subscriptions=[uri]) as subscription:
                await client.call_tool("test_trigger_resource_update", {})
                event = await anext(aiter(subscription))
                assert event.uri == uri
        else:
            await client.subscribe_resource(uri)
            await client.call_tool("test_trigger_resource_update", {})
            await heard.wait()
