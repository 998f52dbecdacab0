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

CLIENT = Path(__file__).parent / "clients" / "tasks1.mjs"
RELATED = "io.modelcontextprotocol/related-task"
TIMEOUT = 60
"""Seconds for one task, which works for four."""
EVERYTHING = [backend for backend in BACKENDS if backend.fixture == "everything"]


def run_task(world, backend, **arguments: Any) -> dict[str, Any]:
    npm = installed()
    tool = f"{backend.prefix}simulate-research-query"
    result = subprocess.run(
        [
            str(npm.node),
            str(CLIENT),
            str(npm.modules),
            world.gateway.url(),
            world.gateway.token,
            tool,
            json.dumps(arguments),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("backend", EVERYTHING, ids=lambda backend: backend.name)
def test_a_task_that_asks_its_client_is_completed(world, backend):
    seen = run_task(world, backend, topic="python", ambiguous=True)
    assert seen["capability"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    (task,) = set(seen["ids"])
    assert task.startswith("onemcp1.")
    assert {"working", "input_required"} <= set(seen["statuses"])
    assert seen["asked"] == [task]
    assert "error" not in seen
    assert "python (snake)" in seen["result"]["content"][0]["text"]
    assert seen["result"]["_meta"][RELATED] == {"taskId": task}
