"""The official SDK's servers, as processes of their own, in both eras and on every transport."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from onemcp.backend.handshake import EraMemory
from onemcp.protocol.fields import raw
from onemcp.protocol.headers import MirroredParameter, mirrored_parameters
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import Catalogue, caller, connecting, plain
from tests.support.processes import serving as process

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REVISIONS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
ABLE = caller(
    capabilities=raw({"sampling": {}, "elicitation": {"form": {}}, "roots": {}}),
    log_level="debug",
)


@pytest.fixture(scope="module")
def streamable() -> Iterator[str]:
    script = HERE.parents[1] / "reference" / "everything.py"
    with process([sys.executable, str(script), "--http", "0"]) as server:
        yield server.url


@pytest.fixture(scope="module")
def sse() -> Iterator[str]:
    with process([sys.executable, str(HERE / "sdk_server.py")]) as server:
        yield server.url


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_revision_is_spoken(streamable: str, revision: str) -> None:
    async with connecting(streamable, pin=revision) as live:
        assert live.connection.server is not None, live.lost
        assert live.connection.server.revision == revision
        result = await live.result("tools/call", name="test_simple_text", arguments={})
        assert result["content"][0]["text"].startswith("This is a simple text")
        assert len((await live.result("tools/list"))["tools"]) > 5


async def test_the_modern_era_is_found(streamable: str) -> None:
    async with connecting(streamable) as live:
        assert live.memory == EraMemory(Era.MODERN)


async def test_http_sse_is_found(sse: str) -> None:
    async with connecting(sse) as live:
        assert live.memory == EraMemory(Era.LEGACY, sse=True), live.lost
        result = await live.result("tools/call", name="test_simple_text", arguments={})
        assert result["content"][0]["text"].startswith("This is a simple text")


async def test_progress_has_the_callers_token(streamable: str) -> None:
    for pin in REVISIONS:
        async with connecting(streamable, pin=pin) as live:
            meta = {"progressToken": "mine"}
            arguments: dict[str, Any] = {"name": "test_tool_with_progress", "arguments": {}}
            exchange = live.open("tools/call", ABLE, **arguments, _meta=meta)
            tokens = []
            while not isinstance(message := await exchange.receive(), Response | Failure):
                if message.method == "notifications/progress":
                    tokens.append(plain(message.params)["progressToken"])
            assert isinstance(message, Response)
            assert tokens
            assert set(tokens) == {"mine"}


@pytest.mark.parametrize("transport", ["streamable", "sse"])
async def test_a_question_is_answered(request: pytest.FixtureRequest, transport: str) -> None:
    url = request.getfixturevalue(transport)
    async with connecting(url, pin="legacy") as live:
        name, arguments = "test_sampling", {"prompt": "hi"}
        exchange = live.open("tools/call", ABLE, name=name, arguments=arguments)
        while not isinstance(question := await exchange.receive(), Request):
            assert isinstance(question, Notification)
        assert question.method == "sampling/createMessage"
        content = {"type": "text", "text": "sampled"}
        said = {"role": "assistant", "content": content, "model": "m"}
        exchange.reply(Response(question.id, raw(said)))
        answer = await exchange.receive()
        assert isinstance(answer, Response)
        assert plain(answer.result)["content"][0]["text"] == "LLM response: sampled"


async def test_a_stream_that_was_hung_up_is_resumed(streamable: str) -> None:
    async with connecting(streamable, pin="2025-11-25") as live:
        result = await live.result("tools/call", ABLE, name="test_reconnection", arguments={})
        assert not result.get("isError")


@pytest.mark.requirement("basic/transports/streamable-http#custom-headers-from-tool-parameters-1")
async def test_annotated_parameters_reach_the_backend(streamable: str) -> None:
    found: dict[str, tuple[MirroredParameter, ...]] = {}
    async with connecting(streamable, tools=Catalogue(found)) as live:
        for tool in (await live.result("tools/list"))["tools"]:
            found[tool["name"]] = mirrored_parameters(tool["inputSchema"])
        (annotated,) = [name for name, parameters in found.items() if parameters]
        arguments = {found[annotated][0].path[0]: "eu-west"}
        result = await live.result("tools/call", name=annotated, arguments=arguments)
        assert not result.get("isError")


async def test_changes_are_announced(streamable: str) -> None:
    async with connecting(streamable, pin="legacy") as live:
        while not live.notes:  # the standalone stream may not be open yet
            await live.result("tools/call", name="test_trigger_tool_change", arguments={})
            with trio.move_on_after(0.2):
                await live.noted.wait()
    assert live.notes[0].method == "notifications/tools/list_changed"


async def test_a_modern_subscription_hears_of_changes(streamable: str) -> None:
    async with connecting(streamable) as live:
        wanted = {"toolsListChanged": True}
        exchange = live.open("subscriptions/listen", notifications=wanted)
        acknowledged = await exchange.receive()
        assert isinstance(acknowledged, Notification)
        assert acknowledged.method == "notifications/subscriptions/acknowledged"
        for _ in range(2):
            await live.result("tools/call", name="test_trigger_tool_change", arguments={})
            changed = await exchange.receive()
            assert isinstance(changed, Notification)
            assert changed.method == "notifications/tools/list_changed"
        exchange.close()


async def test_an_error_of_the_backend_is_its_own(streamable: str) -> None:
    for pin in REVISIONS:
        async with connecting(streamable, pin=pin) as live:
            assert (await live.error("no/such/method"))["code"] == -32601
