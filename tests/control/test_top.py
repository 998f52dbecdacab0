"""The whole screen: what is drawn at one moment, and what of a change is told."""

from __future__ import annotations

import io

import pytest
import trio
from rich.console import Console

from onemcp.cli import main
from onemcp.cli.top import changes, screen
from tests.control.conftest import World
from tests.support.eventually import eventually


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


class Terminal(io.StringIO):
    """What takes a program's words for a person."""

    def isatty(self) -> bool:
        return True


async def test_it_shows_what_happens_when_it_happens(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onemcp.control.endpoint.STATUS_AGE", 3600.0)  # but for events, nothing
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    for name, value in (("TERM", "xterm"), ("COLUMNS", "160"), ("LINES", "40")):
        monkeypatch.setenv(name, value)
    codes: list[int] = []

    async def top() -> None:
        command = ["top", "--socket", str(world.socket)]
        codes.append(await trio.to_thread.run_sync(main, command))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(top)
        await eventually(lambda: "demo" in terminal.getvalue(), "it shows the servers")
        await world.post("/backends/demo/stop")
        await eventually(lambda: "up -> stopped by operator" in terminal.getvalue(), "and changes")
        await world.gateway.stop()
    assert codes == [69]  # what it was about has ended


def test_it_needs_a_terminal(capsys: pytest.CaptureFixture[str]):
    assert main(["top"]) == 2
    assert "status --watch" in capsys.readouterr().err
