"""Tasks go on when onemcp is stopped and started again: their ids carry all that is needed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.clients import ACCEPT, META, MODERN
from tests.support.gateway import GatewayProcess, gateway
from tests.support.npm import CHECKOUT
from tests.support.processes import serving

SERVER = [sys.executable, str(CHECKOUT / "tests" / "reference" / "tasks.py"), "--http", "0"]
PATIENCE = 60
"""Seconds that anything may take."""
OLD = {"name": "old", "version": "1"}
EXTENSIONS = {"io.modelcontextprotocol/tasks": {}}


def ask(process: GatewayProcess, token: str, method: str, **params: Any) -> dict[str, Any]:
    """Send a modern request, and return the message that answers it."""
    meta = {
        META + "protocolVersion": MODERN,
        META + "clientCapabilities": {"extensions": EXTENSIONS},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Accept": ACCEPT,
        "Authorization": f"Bearer {token}",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": method,
        "Mcp-Name": params.get("name") or params.get("taskId") or "",
    }
    answer: dict[str, Any] = httpx.post(
        process.url(), json=body, headers=headers, timeout=PATIENCE
    ).json()
    return answer


def ask_until(
    process: GatewayProcess, token: str, method: str, *, has: str = "resultType", **params: Any
) -> dict[str, Any]:
    """Ask until the backend has come up behind the gateway, and the result has a member."""
    deadline = time.monotonic() + PATIENCE
    while has not in (answer := ask(process, token, method, **params)).get("result", {}):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return dict(answer["result"])


def post(
    process: GatewayProcess, body: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send a legacy message."""
    given = {"Accept": ACCEPT, "Authorization": f"Bearer {process.token}", **(headers or {})}
    return httpx.post(process.url(), json=body, headers=given, timeout=PATIENCE)


@contextmanager
def listening(process: GatewayProcess, task: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Subscribe to a task, and yield what is heard of it."""
    meta = {
        META + "protocolVersion": MODERN,
        META + "clientCapabilities": {"extensions": EXTENSIONS},
    }
    params = {"notifications": {"taskIds": [task]}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params}
    headers = {
        "Accept": ACCEPT,
        "Authorization": f"Bearer {process.token}",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "subscriptions/listen",
    }
    with httpx.stream(
        "POST", process.url(), json=body, headers=headers, timeout=PATIENCE
    ) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data: {"))
        yield (json.loads(line.removeprefix("data: ")) for line in lines)


def test_what_becomes_of_a_task_is_told_and_older_clients_just_get_results(tmp_path):
    with serving(SERVER) as server, gateway(tmp_path, {"it": {"url": server.url}}) as process:
        token = process.token
        call = {"name": "it__confirm_delete", "arguments": {"filename": "a"}}
        task, other = (ask_until(process, token, "tools/call", **call)["taskId"] for _ in "ab")
        asked = ask_until(process, token, "tasks/get", has="inputRequests", taskId=task)
        answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
        with listening(process, task) as heard:
            acknowledged = next(heard)["params"]["notifications"]
            assert acknowledged == {"taskIds": [task]}
            for each in (other, task):
                ask_until(process, token, "tasks/update", taskId=each, inputResponses=answers)
            told = [next(heard)["params"]]
            while told[-1]["status"] != "completed":
                told.append(next(heard)["params"])
            assert {each["taskId"] for each in told} == {task}
            assert told[-1]["result"]["content"][0]["text"] == "accept: a"
        opened = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": OLD}
        opening = post(process, message("initialize", opened))
        session = {"Mcp-Session-Id": opening.headers["mcp-session-id"]}
        params = {"name": "it__slow_compute", "arguments": {"label": "x"}}
        answer = post(process, message("tools/call", params), session).json()
        assert answer["result"] == {"content": [{"type": "text", "text": "computed x"}]}


def message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_a_task_is_reached_after_a_restart_and_by_its_owner_alone(tmp_path):
    with serving(SERVER) as server:
        servers = {"it": {"url": server.url}}
        with gateway(tmp_path, servers) as process:
            token = process.token
            call = {"name": "it__confirm_delete", "arguments": {"filename": "a"}}
            task = ask_until(process, token, "tools/call", **call)["taskId"]
        with gateway(tmp_path, servers) as process:
            asked = ask_until(process, token, "tasks/get", taskId=task)
            assert (asked["taskId"], asked["status"]) == (task, "input_required")
            answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
            ask_until(process, token, "tasks/update", taskId=task, inputResponses=answers)
            done = ask_until(process, token, "tasks/get", has="result", taskId=task)
            assert done["result"]["content"][0]["text"] == "accept: a"
            refused = ask(process, token, "tasks/get", taskId=f"{task[:-1]}!")
            assert refused["error"]["code"] == -32602
            process.server.wait_said("it was not issued here")
            assert task[20:] not in process.server.said()
    other = tmp_path / "other"
    other.mkdir()
    with serving(SERVER) as server, gateway(other, {"it": {"url": server.url}}) as process:
        ask_until(process, process.token, "tools/call", name="it__greet", arguments={})
        refused = ask(process, process.token, "tasks/get", taskId=task)
        assert refused["error"]["code"] == -32602
