"""The whole screen: what is drawn at one moment, and what of a change is told."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onemcp.cli import main
from onemcp.cli.top import changes, screen
from tests.control.conftest import World


async def test_the_ailing_come_first_and_changes_are_told(world: World):
    before = await world.get("/status")
    await world.post("/backends/demo/stop")
    after = await world.get("/status")
    told = list(changes(before, after))
    assert any("demo  up -> stopped by operator" in line for line in told)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(screen(after, told))
    drawn = console.export_text()
    assert drawn.index("broken") < drawn.index("demo ")
    assert "stopped by operator" in drawn


def test_it_needs_a_terminal(capsys: pytest.CaptureFixture[str]):
    assert main(["top"]) == 2
    assert "status --watch" in capsys.readouterr().err
