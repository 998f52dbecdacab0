"""The experimental tasks of 2025-11-25, between the official client and server that have them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.backends import BACKENDS
from tests.support.npm import installed

pytestmark = pytest.mark.interop

CLIENTS = Path(__file__).parent / "clients"
RELATED = "io.modelcontextprotocol/related-task"
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
