"""The zipapp, with a Python that has nothing of onemcp."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence

import pytest

from tests.executable.built import Program, ask
from tests.support.sdk import on_asyncio

ZIPAPP = os.environ["ONEMCP_BUILT_ZIPAPP"]
PYTHON = sys._base_executable  # type: ignore[attr-defined]  # outside of the environment


@pytest.fixture(scope="session")
def program(program_of: Callable[[Sequence[str]], Program]) -> Program:
    return program_of([PYTHON, ZIPAPP])


@pytest.mark.interop
@on_asyncio
async def test_it_serves_the_demo(demo: tuple[str, str]):
    assert "Grüße" in (await ask(*demo, "legacy")).text


def test_it_is_what_clients_start(program: Program):
    program.run("install", "cursor", "--file", str(program.home / "mcp.json"))
    entry = json.loads((program.home / "mcp.json").read_text())["mcpServers"]["onemcp"]
    assert [entry["command"], *entry["args"]] == [PYTHON, ZIPAPP, "stdio"]
