"""The experimental tasks of 2025-11-25, between the official client and server that have them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.interop.backends import BACKENDS
from tests.support.clients import ACCEPT, META, MODERN
from tests.support.npm import installed

pytestmark = pytest.mark.interop

CLIENTS = Path(__file__).parent / "clients"
RELATED = "io.modelcontextprotocol/related-task"
ABLE = {"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
TIMEOUT = 60
"""Seconds for one task, which works for four."""
EVERYTHING = [backend for backend in BACKENDS if backend.fixture == "everything"]


def run(world, client: str, tool: str, argument: str) -> dict[str, Any]:
    npm, gateway = installed(), world.gateway
    program = [str(npm.node), str(CLIENTS / client), str(npm.modules)]
    result = subprocess.run(
        [*program, gateway.url(), gateway.token, tool, argument],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("backend", EVERYTHING, ids=lambda backend: backend.name)
def test_a_task_that_asks_its_client_is_completed(world, backend):
    arguments = json.dumps({"topic": "python", "ambiguous": True})
    seen = run(world, "tasks1.mjs", f"{backend.prefix}simulate-research-query", arguments)
    assert seen["capability"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    (task,) = set(seen["ids"])
    assert task.startswith("onemcp1.")
    assert {"working", "input_required"} <= set(seen["statuses"])
    assert seen["asked"] == [task]
    assert "error" not in seen
    assert "python (snake)" in seen["result"]["content"][0]["text"]
    assert seen["result"]["_meta"][RELATED] == {"taskId": task}


@pytest.mark.parametrize("tasks", ["has-tasks", "no-tasks"])
@pytest.mark.parametrize("backend", EVERYTHING[:2], ids=lambda backend: backend.name)
def test_a_task_that_a_server_makes_of_a_question_is_answered(world, backend, tasks: str):
    tool = f"{backend.prefix}trigger-elicitation-request-async"
    seen = run(world, "asked1.mjs", tool, tasks)
    assert seen["wanted"] == [tasks == "has-tasks"]
    said = [content["text"] for content in seen["result"]["content"]]
    assert said[0].startswith("[COMPLETED]"), said
    assert "- Name: Ada" in said[1]
    assert not any(own in "".join(said) for own in seen["own"]), "the ids are onemcp's"


def ask(world, method: str, **params: Any) -> dict[str, Any]:
    """Ask as a client of 2026-07-28 that has the extension; return the result."""
    meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": ABLE}
    headers = {
        "Accept": ACCEPT,
        "Authorization": f"Bearer {world.gateway.token}",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": method,
        "Mcp-Name": params.get("name") or params["taskId"],
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    answer = httpx.post(world.gateway.url(), json=body, headers=headers, timeout=TIMEOUT).json()
    assert "result" in answer, answer
    return dict(answer["result"])


@pytest.mark.parametrize("backend", EVERYTHING[:1], ids=lambda backend: backend.name)
def test_a_task_of_2025_is_one_of_the_extension_for_a_modern_client(world, backend):
    arguments = {"topic": "python", "ambiguous": True}
    tool = f"{backend.prefix}simulate-research-query"
    task = ask(world, "tools/call", name=tool, arguments=arguments)
    assert (task["resultType"], task["status"]) == ("task", "working")
    statuses, deadline = set(), time.monotonic() + TIMEOUT
    while (got := ask(world, "tasks/get", taskId=task["taskId"]))["status"] != "completed":
        assert time.monotonic() < deadline, got
        statuses.add(got["status"])
        if "inputRequests" in got:
            answer = {"action": "accept", "content": {"interpretation": "snake"}}
            answers = dict.fromkeys(got["inputRequests"], answer)
            ask(world, "tasks/update", taskId=task["taskId"], inputResponses=answers)
        time.sleep(got["pollIntervalMs"] / 1000)
    assert statuses == {"working", "input_required"}
    assert "python (snake)" in got["result"]["content"][0]["text"]
