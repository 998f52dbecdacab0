"""The demo server as a process, met by the official SDK and by raw lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import PromptReference

from onemcp.demo import command
from tests.support.sdk import on_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{MCPDeprecationWarning.__module__}.MCPDeprecationWarning"
)

MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}
PATIENCE = 60
"""Seconds that a whole test may take."""
MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}


@pytest.fixture(params=MODES)
def connect(request) -> Any:
    @asynccontextmanager
    async def connected(**options: Any) -> AsyncIterator[Client]:
        program, *arguments = command()
        target = StdioServerParameters(command=program, args=arguments)
        with anyio.fail_after(PATIENCE):
            async with Client(target, mode=request.param, cache=None, **options) as client:
                assert client.protocol_version == MODES[request.param]
                yield client

    return connected


@on_asyncio
async def test_official_client_can_use_everything(connect):
    async with connect() as client:
        assert client.server_info.name == "onemcp-demo"
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"echo", "add", "current_time", "roll_dice", "slow_count"}
        assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"sum": 5}
        assert (await client.call_tool("add", {"a": "x"})).is_error
        [resource] = (await client.list_resources()).resources
        assert (await client.read_resource(resource.uri)).contents[0].text.startswith("# Welcome")
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "demo://greeting/{name}"
        prompt = await client.get_prompt("introduce", {"audience": "poets"})
        assert "poets" in prompt.messages[0].content.text
        completed = await client.complete(
            PromptReference(type="ref/prompt", name="introduce"), {"name": "audience", "value": "s"}
        )
        assert completed.completion.values == ["students"]
        with pytest.raises(MCPError) as caught:
            await client.call_tool("no_such_tool", {})
        assert caught.value.error.code == -32602


@on_asyncio
async def test_official_client_sees_progress_and_log_messages(connect):
    progress: list[tuple[float, float | None, str | None]] = []
    logs: list[Any] = []

    async def note_progress(*arguments: Any) -> None:
        progress.append(arguments)

    async def note_log(params: Any) -> None:
        logs.append(params.data)

    async with connect(logging_callback=note_log, log_level="info") as client:
        if client.protocol_version == MODES["legacy"]:
            await client.set_logging_level("info")
        arguments = {"to": 2, "delay": 0.01}
        await client.call_tool("slow_count", arguments, progress_callback=note_progress)
    assert progress == [(1, 2, "1 of 2"), (2, 2, "2 of 2")]
    assert logs == ["Counting to 2", "Counted to 2"]


@on_asyncio
async def test_official_client_can_cancel_and_go_on(connect):
    async with connect() as client:
        with anyio.move_on_after(0.2):
            await client.call_tool("slow_count", {"to": 100, "delay": 1})
        result = await client.call_tool("echo", {"message": "still here"})
        assert result.content[0].text == "still here"


@on_asyncio
async def test_official_client_can_listen(connect):
    async with connect() as client:
        if client.protocol_version == MODES["auto"]:
            async with client.listen(tools_list_changed=True):
                assert (await client.call_tool("echo", {"message": "x"})).content


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def _request(ident: int, method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": {**MODERN, **params}}
    return json.dumps(message).encode() + b"\n"


def test_requests_that_are_cut_anywhere_are_put_together_again(process):
    for byte in _request(1, "server/discover"):
        process.stdin.write(bytes([byte]))
        process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1


def test_last_request_is_answered_without_a_line_break(process):
    out, err = process.communicate(_request(1, "tools/list").rstrip(b"\n"), timeout=PATIENCE)
    assert json.loads(out)["id"] == 1
    assert err == b""
    assert process.returncode == 0


def test_oversized_lines_are_refused_and_skipped(process):
    lines = b"x" * (2 * 1024 * 1024) + b"\n" + _request(2, "tools/list")
    out, _ = process.communicate(lines, timeout=PATIENCE)
    refused, answer = map(json.loads, out.splitlines())
    assert refused["error"]["code"] == -32600
    assert answer["id"] == 2


def test_end_of_input_ends_it_whatever_it_is_doing(process):
    lines = _request(1, "tools/call", name="slow_count", arguments={"delay": 10})
    assert process.communicate(lines, timeout=PATIENCE) == (b"", b"")
    assert process.returncode == 0


def test_interrupt_ends_it_without_a_traceback(process):
    process.stdin.write(_request(1, "tools/list"))
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr.read() == b""


def test_client_that_stops_reading_ends_it_quietly(process):
    process.stdout.close()
    process.stdin.write(_request(1, "tools/list"))
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""


def test_output_that_does_not_block_is_written_whole():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=writer) as running:
        os.close(writer)
        running.stdin.write(b"".join(_request(ident, "tools/list") for ident in range(200)))
        running.stdin.close()
        time.sleep(0.3)  # let the pipe run full
        with os.fdopen(reader, "rb") as out:
            assert [json.loads(line)["id"] for line in out] == list(range(200))
        assert running.wait(PATIENCE) == 0


def test_start_does_not_import_what_is_slow():
    code = "import sys, onemcp.demo.__main__; print(*sys.modules)"
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not {"trio", "asyncio", "httpx", "ssl", "logging", "zoneinfo"} & set(out.split())
