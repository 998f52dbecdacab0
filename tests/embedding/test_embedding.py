from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
import trio

import onemcp
from onemcp.auth import KEYS_FILE, change_keys, renewed
from onemcp.backend import BackendReady
from onemcp.config import ConfigurationError
from onemcp.supervision import ChildState
from tests.crossfire.test_crossfire import talker
from tests.support.eventually import eventually
from tests.support.process_tree import alive, descendants

ROOT = Path(__file__).parents[2]
DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}
ONE = {"mcpServers": {"demo": DEMO}}


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_any_program_that_runs_on_trio_can_have_it(backend):
    async def main() -> str:
        async with onemcp.open_gateway(ONE) as gateway:
            result = await gateway.call_tool("demo__echo", {"message": "hello"})
            return str(result["content"][0]["text"])

    if backend == "trio":
        assert anyio.run(main, backend=backend) == "hello"
        return
    with pytest.raises(RuntimeError, match='backend="trio"'):
        anyio.run(main, backend=backend)


async def test_everything_can_be_listed_called_and_read():
    async with onemcp.open_gateway(ONE) as gateway:
        assert gateway.url == ""
        await gateway.call_tool("demo__echo", {"message": "up"})
        assert "demo__echo" in {tool["name"] for tool in await gateway.list_tools()}
        (resource, *_) = await gateway.list_resources()
        assert (await gateway.read_resource(resource["uri"]))["contents"]
        (prompt, *_) = await gateway.list_prompts()
        wanted = {each["name"]: "x" for each in prompt.get("arguments", [])}
        assert (await gateway.get_prompt(prompt["name"], wanted))["messages"]


async def test_an_error_has_its_code_and_an_error_of_the_program_stays_as_it_is():
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with onemcp.open_gateway(ONE) as gateway:
            with pytest.raises(onemcp.McpError, match="nothing__here") as caught:
                await gateway.call_tool("nothing__here")
            assert caught.value.code == -32602
            raise KeyError("mine")


async def test_progress_is_heard():
    heard: list[Any] = []
    async with onemcp.open_gateway(ONE) as gateway:
        result = await gateway.call_tool(
            "demo__roll_dice", {"count": 3}, hear=lambda *said: heard.append(said)
        )
    assert len(result["structuredContent"]["rolls"]) == 3
    assert [(method, params["progress"]) for method, params in heard] == [
        ("notifications/progress", 1),
        ("notifications/progress", 2),
        ("notifications/progress", 3),
    ]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_backend_of_either_era_asks_the_program(era):
    asked: list[onemcp.Question] = []

    async def answer(question: onemcp.Question) -> dict[str, Any]:
        asked.append(question)
        return {"action": "accept", "content": {"said": "Ada"}}

    answers = onemcp.Answers({"elicitation": {"form": {}}}, answer)
    servers = {"b": talker(era, "b")}
    async with onemcp.open_gateway({"mcpServers": servers}, answers=answers) as gateway:
        result = await gateway.call_tool("b__ask", {"words": "who are you?"})
    assert [(each.method, each.params["message"]) for each in asked] == [
        ("elicitation/create", "who are you?")
    ]
    assert "Ada" in result["content"][0]["text"]


async def test_what_an_answer_raises_comes_out_of_the_call():
    async def answer(question: onemcp.Question) -> dict[str, Any]:
        raise KeyError(question.method)

    answers = onemcp.Answers({"elicitation": {"form": {}}}, answer)
    servers = {"b": talker("legacy", "b")}
    async with onemcp.open_gateway({"mcpServers": servers}, answers=answers) as gateway:
        with pytest.raises(KeyError, match="elicitation/create"):
            await gateway.call_tool("b__ask", {"words": "who are you?"})
        result = await gateway.call_tool("b__slow", {"words": "still here"})
        assert result["content"][0]["text"] == "still here"


async def test_backends_come_and_go_and_take_their_processes_with_them():
    before = descendants_of_us()
    async with onemcp.open_gateway() as gateway:
        await gateway.add_backend("first", DEMO)
        await gateway.call_tool("first__echo", {"message": "x"})
        await gateway.add_backend("second", DEMO)
        await gateway.call_tool("second__echo", {"message": "x"})
        assert repr(gateway) == "<EmbeddedGateway running backends=2>"
        await gateway.remove_backend("first")
        with pytest.raises(onemcp.McpError):
            await gateway.call_tool("first__echo", {"message": "x"})
        with pytest.raises(onemcp.ControlError, match="first"):
            await gateway.remove_backend("first")
        with pytest.raises(ConfigurationError, match=r"mcpServers\.third"):
            await gateway.add_backend("third", {"commando": "x"})
        await gateway.call_tool("second__echo", {"message": "still here"})
        started = descendants_of_us() - before
        assert started
    assert not any(map(alive, started))
    assert repr(gateway) == "<EmbeddedGateway stopped backends=1>"


def descendants_of_us() -> set[int]:
    return descendants(os.getpid())


async def test_backends_can_be_stopped_started_and_restarted():
    async with onemcp.open_gateway(ONE) as gateway:
        await gateway.call_tool("demo__echo", {"message": "up"})
        (before,) = _serving_demo()
        assert (await gateway.stop_backend("demo"))["state"] == "stopped"
        with pytest.raises(onemcp.McpError, match="demo"):
            await gateway.call_tool("demo__echo", {"message": "x"})
        assert (await gateway.start_backend("demo"))["state"] == "up"
        assert (await gateway.restart_backend("demo"))["state"] == "up"
        await gateway.call_tool("demo__echo", {"message": "x"})
        (after,) = _serving_demo()
        assert before != after
        assert [each["name"] for each in gateway.status()["backends"]] == ["demo"]
        with pytest.raises(onemcp.ControlError, match="demo"):  # the nearest name
            await gateway.restart_backend("dmo")


def _serving_demo() -> set[int]:
    """Return the processes of demo backends."""
    return {
        pid
        for pid in descendants_of_us()
        if b"onemcp.demo" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


async def test_what_happens_can_be_followed():
    async with onemcp.open_gateway(ONE) as gateway:
        with gateway.events() as events:
            await gateway.add_backend("other", DEMO)
            with trio.fail_after(30):
                async for event in events:
                    if isinstance(event, BackendReady) and event.backend == "other":
                        break
        assert events.dropped == 0
        assert gateway.snapshot().children[0].state is ChildState.RUNNING


async def test_clients_come_by_the_listener_of_the_program(tmp_path):
    question = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = onemcp.open_gateway(ONE, listener=listener, state=tmp_path)
        async with opened as gateway, httpx.AsyncClient() as client:
            accepts = {"Accept": "application/json, text/event-stream"}
            refused = await client.post(gateway.url, json=question, headers=accepts)
            assert refused.status_code == 401
            token = gateway.issue_token("me", lifetime=60)
            headers = {**accepts, "Authorization": f"Bearer {token}"}
            answer = await client.post(gateway.url, json=question, headers=headers)
            assert answer.status_code == 200
            await gateway.reconfigure({**ONE, "server": {"port": 1}})
            assert (await client.get(gateway.url, headers=headers)).status_code == 405
        assert listener.fileno() > 0
        listener.getsockname()  # still open


async def test_tokens_are_signed_with_the_keys_that_are_in_use_now(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with onemcp.open_gateway(ONE, listener=listener, state=tmp_path) as gateway:
            keys = change_keys(tmp_path / KEYS_FILE, lambda _: renewed(time.time()))

            def uses_the_new_key() -> bool:
                token = gateway.issue_token("me", lifetime=60)
                return bool(jwt.get_unverified_header(token)["kid"] == keys.newest.key_id)

            await eventually(uses_the_new_key, "new tokens are signed with the new key")


async def test_without_a_listener_there_are_no_tokens():
    async with onemcp.open_gateway() as gateway:
        with pytest.raises(RuntimeError, match="listener"):
            gateway.issue_token("me", lifetime=60)


async def test_cancelling_a_call_leaves_the_gateway_as_it_was():
    async with onemcp.open_gateway(ONE) as gateway:
        await gateway.call_tool("demo__echo", {"message": "up"})
        with trio.move_on_after(0.05) as scope:
            await gateway.call_tool("demo__slow_count", {"to": 1000, "delay": 10})
        assert scope.cancelled_caught
        result = await gateway.call_tool("demo__echo", {"message": "again"})
        assert result["content"][0]["text"] == "again"


@pytest.mark.parametrize("name", ["embedded", "embedded_server"])
async def test_the_examples_run(name):
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, str(ROOT / "docs" / "examples" / f"{name}.py")], capture_stdout=True
        )
    assert done.stdout


def test_what_it_exports_is_there():
    assert all(hasattr(onemcp, name) for name in onemcp.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        onemcp.nothing  # noqa: B018
