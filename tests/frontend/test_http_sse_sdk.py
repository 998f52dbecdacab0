"""The official SDKs' clients of HTTP+SSE, against the program that users run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mcp_types as types
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from tests.support import npm
from tests.support.processes import serving
from tests.support.running import command, configuration, write
from tests.support.sdk import on_asyncio

HERE = Path(__file__).parent
EVERYTHING = HERE.parent / "reference" / "everything.py"
CLIENT = HERE / "programs" / "sdk_client.cjs"
PATIENCE = 60


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("gateway") / "onemcp.json"
    everything = {"command": sys.executable, "args": [str(EVERYTHING), "--stdio"]}
    write(config, configuration({"all": everything | {"protocol": "legacy"}}))
    with serving(command(config)) as server:
        deadline = time.monotonic() + PATIENCE
        while "backend_ready" not in server.said():
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.05)
        yield server.url.removesuffix("/mcp") + "/sse"


@pytest.mark.interop
def test_the_typescript_client_is_served(url: str):
    node = npm.installed()
    result = subprocess.run(
        [str(node.node), str(CLIENT), "sse", url],
        env=node.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["server"] == "onemcp"
    assert said["tools"] > 5
    assert all(text.startswith("This is a simple text") for text in said["several"])
    assert said["sampled"] == "LLM response: sampled"
    # It forgets a step that comes together with the answer.
    assert said["progress"] in ([0], [0, 50], [0, 50, 100])
    assert said["code"] == -32601


@pytest.mark.parametrize("path", ["", "/all"])
@on_asyncio
async def test_the_python_client_is_served(url: str, path: str):
    prefix = "" if path else "all__"

    async def sample(*_: object) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    async with (
        sse_client(url + path) as (reading, writing),
        ClientSession(reading, writing, sampling_callback=sample) as session,
    ):
        await session.initialize()
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert f"{prefix}test_simple_text" in names
        answer = await session.call_tool(f"{prefix}test_sampling", {"prompt": "hi"})
        assert isinstance(answer, types.CallToolResult)
        (content,) = answer.content
        assert isinstance(content, types.TextContent)
        assert content.text == "LLM response: sampled"
        await session.send_ping()
