"""Tools, resources and prompts of a running onemcp, from a shell; and the bridge by its socket."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.control.conftest import Shell
from tests.support.sdk import on_asyncio


async def test_tools_are_listed_and_described(shell: Shell):
    code, out, _ = await shell.run("tools")
    assert code == 0
    assert any(line.startswith("demo__add  ") for line in out.splitlines())
    assert {"demo__add", "demo__echo"} <= {each["name"] for each in await shell.json("tools")}
    assert {"add"} <= {each["name"] for each in await shell.json("tools", "--view", "demo")}
    code, out, _ = await shell.run("tools", "demo__add")
    assert (code, '"inputSchema"' in out, '"a"' in out) == (0, False, True)
    assert (await shell.json("tools", "demo__add"))["inputSchema"]["type"] == "object"


@pytest.mark.parametrize("arguments", [["a=1", "b=2"], ['{"a": 1, "b": 2}'], ["-"]])
async def test_a_tool_is_called_with_what_a_shell_has(shell: Shell, monkeypatch, arguments):
    stdin = SimpleNamespace(buffer=io.BytesIO(b'{"a": 1, "b": 2}'))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert await shell.run("call", "demo__add", *arguments) == (0, "3\n", "")


async def test_what_is_text_for_the_tool_stays_text(shell: Shell):
    told = await shell.json("call", "echo", "message=12", "--view", "demo")
    assert told["content"][0]["text"] == "12"


async def test_a_failing_tool_and_a_wrong_command_line_are_told_apart(shell: Shell):
    code, _, err = await shell.run("call", "demo__ad", "a=1")
    assert (code, "Did you mean 'demo__add'?" in err) == (2, True)
    for wrong in ("a", "=1", "{", '{"a": '):
        assert (await shell.run("call", "demo__add", wrong))[0] == 2
    code, out, _ = await shell.run("call", "demo__add", "a=x", "b=2")
    assert (code, bool(out)) == (1, True)
    assert (await shell.run("tools", "--view", "nowhere"))[0] == 2
    await shell.world.post("/backends/demo/stop")
    code, _, err = await shell.run("call", "demo__add", "a=1", "b=2")
    assert (code, "stopped by an operator" in err) == (1, True)


async def test_resources_are_listed_and_read(shell: Shell):
    listed = await shell.json("read")
    code, out, _ = await shell.run("read")
    assert (code, out.split()[0]) == (0, listed[0]["uri"])
    code, out, _ = await shell.run("read", listed[0]["uri"])
    assert code == 0
    assert out
    assert (await shell.json("read", listed[0]["uri"]))["contents"][0]["uri"] == listed[0]["uri"]
    code, _, err = await shell.run("read", "nowhere://x")
    assert code == 1
    assert "nowhere://x" in err


async def test_prompts_are_listed_and_got(shell: Shell):
    [listed] = await shell.json("prompt")
    arguments = [f"{each['name']}=x" for each in listed.get("arguments", [])]
    code, out, _ = await shell.run("prompt", listed["name"], *arguments)
    assert (code, out.startswith("user: ")) == (0, True)
    assert (await shell.json("prompt", listed["name"], *arguments))["messages"]
    assert (await shell.run("prompt", "nothing"))[0] == 2


async def test_a_bridge_finds_the_running_one_by_its_socket_and_needs_no_token(shell: Shell):
    path, answers = str(shell.world.socket), list[Any]()

    @on_asyncio
    async def use() -> None:
        arguments = ["-m", "onemcp", "stdio", "--attach", "--socket", path]
        target = StdioServerParameters(command=sys.executable, args=arguments)
        with anyio.fail_after(50):
            async with Client(target, mode="legacy", cache=None) as client:
                answers.append(await client.call_tool("demo__add", {"a": 1, "b": 2}))

    await trio.to_thread.run_sync(use)
    assert answers[0].content[0].text == "3"


async def test_a_bridge_to_nowhere_is_refused(shell: Shell, monkeypatch):
    code, _, err = await shell.run("stdio", "--attach", "--config", "other.json")
    assert (code, "No onemcp runs with other.json" in err) == (69, True)
    for wrong in (["--attach", "--connect", "http://x/mcp"], ["--socket", "x"]):
        assert (await shell.run("stdio", *wrong))[0] == 2
