"""Tasks go on when onemcp is stopped and started again: their ids carry all that is needed."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx

from tests.support.clients import ACCEPT, META, MODERN
from tests.support.gateway import GatewayProcess, gateway
from tests.support.npm import CHECKOUT
from tests.support.processes import serving

SERVER = [sys.executable, str(CHECKOUT / "tests" / "reference" / "tasks.py"), "--http", "0"]
PATIENCE = 30
"""Seconds that anything may take."""
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
            assert "it was not issued here" in process.server.said()
            assert task[20:] not in process.server.said()
    other = tmp_path / "other"
    other.mkdir()
    with serving(SERVER) as server, gateway(other, {"it": {"url": server.url}}) as process:
        ask_until(process, process.token, "tools/call", name="it__greet", arguments={})
        refused = ask(process, process.token, "tasks/get", taskId=task)
        assert refused["error"]["code"] == -32602
