"""The official SDKs' clients launch `onemcp stdio`, with everything inside or as a bridge."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.support import npm
from tests.support.processes import serving
from tests.support.running import command, configuration, write
from tests.support.sdk import on_asyncio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[1]
EVERYTHING = TESTS / "reference" / "everything.py"
CLIENT = TESTS / "frontend" / "programs" / "sdk_client.cjs"
PATIENCE = 60


def configured(folder: Path, era: str) -> Path:
    """Write a configuration with one backend, of either era."""
    path = folder / f"{era}.json"
    args = [str(EVERYTHING), "--stdio"]
    backend = {"command": sys.executable, "args": args, "protocol": era}
    write(path, configuration({"all": backend}))
    return path


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Start the instance that bridges lead to, one with a backend of each era; return its URL."""
    with ExitStack() as stack:

        @functools.cache
        def url(era: str) -> str:
            home = tmp_path_factory.mktemp(era)
            environment = {**os.environ, "HOME": str(home)}
            running = serving(command(configured(home, era)), environment=environment)
            server = stack.enter_context(running)
            server.wait_said("backend_ready")  # or the first list may come before
            return server.url

        yield url


@pytest.fixture(params=["modern", "legacy"])
def era(request) -> str:
    return str(request.param)


@pytest.fixture(params=["inside", "bridge"])
def arguments(request, era: str, home: Path, instance: Callable[[str], str]) -> list[str]:
    """How onemcp is launched: with the backend inside, or as a bridge to where it is."""
    if request.param == "inside":
        return ["-m", "onemcp", "stdio", "--config", str(configured(home, era))]
    return ["-m", "onemcp", "stdio", "--connect", instance(era)]


async def _sample(*_: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="m")


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
@on_asyncio
async def test_the_python_client_is_served(
    arguments: list[str], environment: dict[str, str], mode: str
):
    target = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    steps: list[float] = []

    async def note(progress: float, *_: Any) -> None:
        steps.append(progress)

    with anyio.fail_after(PATIENCE):
        async with Client(target, mode=mode, cache=None, sampling_callback=_sample) as client:
            assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            assert len((await client.list_tools()).tools) > 5
            await client.call_tool("all__test_tool_with_progress", {}, progress_callback=note)
            assert steps == [0, 50, 100]
            answer = await client.call_tool("all__test_simple_text", {})
            assert isinstance(answer.content[0], types.TextContent)
            assert answer.content[0].text.startswith("This is a simple text")
            answer = await client.call_tool("all__test_sampling", {"prompt": "hi"})
            assert isinstance(answer.content[0], types.TextContent)
            assert answer.content[0].text == "LLM response: sampled"


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@on_asyncio
async def test_the_python_client_reads_on_in_a_long_result(
    home: Path, environment: dict[str, str], mode: str
):
    path = home / "paging.json"
    demo = {"command": sys.executable, "args": ["-m", "onemcp.demo"]}
    write(path, configuration({"demo": {**demo, "paging": {"characters": 1000}}}))
    arguments = ["-m", "onemcp", "stdio", "--config", str(path)]
    target = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    message = "".join(f"line {number}\n" for number in range(300))
    with anyio.fail_after(PATIENCE):
        async with Client(target, mode=mode, cache=None) as client:
            answer, read = await client.call_tool("demo__echo", {"message": message}), ""
            while True:
                *texts, notice = [block.text for block in answer.content if block.type == "text"]
                read += "".join(texts)
                found = re.search(r'call the tool "(\S+)" with the arguments (\{.*?\})', notice)
                if found is None:
                    break
                answer = await client.call_tool(found[1], json.loads(found[2]))
            assert read == message
            listed = [tool.name for tool in (await client.list_tools()).tools]
            assert listed[-1] == "onemcp__next_page"


@pytest.mark.interop
def test_the_typescript_client_is_served(arguments: list[str], environment: dict[str, str]):
    node = npm.installed()
    result = subprocess.run(
        [str(node.node), str(CLIENT), "stdio", sys.executable, *arguments],
        env=node.environment() | environment,
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
    assert said["progress"] in ([0], [0, 50], [0, 50, 100])
    assert said["code"] == -32601
