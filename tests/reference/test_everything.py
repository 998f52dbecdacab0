"""The reference servers do what they are for, in their eras and on both transports.

The conformance suite takes many an answer without looking at it; here they are compared.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.support.npm import installed
from tests.support.processes import serving
from tests.support.references import ONLY_2025, ONLY_2026, REFERENCES, Reference
from tests.support.sdk import on_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    Connect = Callable[..., AbstractAsyncContextManager[Client]]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings(f"ignore::{MCPDeprecationWarning.__module__}.MCPDeprecationWarning"),
]

TRANSPORTS = ("stdio", "http")
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}
PATIENCE = 60
"""Seconds that a whole test may take."""
PREFIX = "test_input_required_result_"
ANSWERS = {
    ("test_sampling", "prompt"): "LLM response: sampled",
    ("test_elicitation", "message"): 'User response: action=accept, content={"name":"Ada"}',
    ("test_elicitation_sep1034_defaults",): "Elicitation completed: "
    'action=accept, content={"name":"Ada"}',
    ("test_streaming_elicitation",): 'Streaming complete: action=accept, content={"name":"Ada"}',
    (f"{PREFIX}elicitation",): "Hello, Ada!",
    (f"{PREFIX}sampling",): "Model said: sampled",
    (f"{PREFIX}list_roots",): "Client roots: file:///root",
    (f"{PREFIX}request_state",): 'state-ok: action=accept, content={"name":"Ada"}',
    (f"{PREFIX}multiple_inputs",): "sampled to Ada",
    (f"{PREFIX}multi_round",): "Ada likes nothing.",
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


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _leaves(each)]


@dataclass(frozen=True)
class Case:
    """A server that is spoken to in one era."""

    reference: Reference
    mode: str
    target: StdioServerParameters | str

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[Client]:
        with anyio.fail_after(PATIENCE):
            async with Client(self.target, mode=self.mode, cache=None, **options) as client:
                assert client.protocol_version == MODES[self.mode]
                yield client


@contextmanager
def reached(reference: Reference, transport: str) -> Iterator[StdioServerParameters | str]:
    program, *arguments = reference.command(installed())
    if transport == "stdio":
        yield StdioServerParameters(command=program, args=[*arguments, "--stdio"])
    else:
        with serving([program, *arguments, "--http", "0"]) as server:
            yield server.url


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((reference, transport, mode), id=f"{reference.name}-{transport}-{mode}")
        for reference in REFERENCES
        for transport in TRANSPORTS
        for mode, version in MODES.items()
        if version in reference.versions
    ],
)
def case(request) -> Iterator[Case]:
    reference, transport, mode = request.param
    with reached(reference, transport) as target:
        yield Case(reference, mode, target)


@pytest.fixture
def connect(case) -> Connect:
    return case.connect


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
async def test_tool_that_needs_a_missing_capability_is_refused(case):
    async with case.connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("test_missing_capability", {})
    if case.reference is ONLY_2025:
        # It asks, as its era does, and hands on what the client says to that.
        assert caught.value.error.code == types.INVALID_REQUEST
        return
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


@pytest.mark.parametrize("transport", TRANSPORTS)
@on_asyncio
async def test_modern_server_refuses_a_handshake_and_says_what_it_speaks(transport):
    refused = pytest.raises(BaseException)  # noqa: PT011 - it comes out of task groups
    with reached(ONLY_2026, transport) as target, anyio.fail_after(PATIENCE), refused as caught:
        async with Client(target, mode="legacy"):
            pass
    (refusal,) = _leaves(caught.value)
    assert isinstance(refusal, MCPError)
    assert refusal.error.code == types.UNSUPPORTED_PROTOCOL_VERSION
    assert refusal.error.data["supported"] == [MODES["auto"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
@on_asyncio
async def test_legacy_server_knows_nothing_but_the_handshake(transport):
    with reached(ONLY_2025, transport) as target, anyio.fail_after(PATIENCE):
        async with Client(target, mode="auto") as client:
            assert client.protocol_version == MODES["legacy"]
