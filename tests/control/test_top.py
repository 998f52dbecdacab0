"""The whole screen: what is drawn at one moment, and what of a change is told."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import termios
import time

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
    console.print(screen(after, told, 160))
    drawn = console.export_text()
    assert drawn.index("broken") < drawn.index("demo ")
    assert "stopped by operator" in drawn


@pytest.mark.parametrize("width", [60, 80, 149, 200])
def test_it_names_the_servers_and_what_is_wrong_however_narrow_the_terminal_is(width: int):
    about = {"name": "onemcp", "version": "1", "pid": 1, "url": "http://h/mcp", "uptime": 1.0}
    ailing = {"state": "paused", "retryIn": 47.0, "failure": "it is gone", "restarts": 5}
    numbers = {"inFlight": 0, "instances": 1, "for": 12.0}
    status = {
        "instance": about,
        "inFlight": 0,
        "sessions": 0,
        "configuration": {"ok": True, "reloadSuspended": False},
        "backends": [
            {"name": "a-name-of-20-letters", **ailing, **numbers},
            {"name": "n" * 64, **ailing, **numbers, "state": "needs-login"},
        ],
    }
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen(status, [], width))
    drawn = console.export_text()
    assert "a-name-of-20-letters" in drawn
    assert drawn.count("paused") == 1
    assert "needs" in drawn
    assert "it is" in drawn
    assert max(map(len, drawn.splitlines())) <= width


PATIENCE = 30.0
AT_TERMINAL = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests may ignore it
from onemcp.cli import main
sys.exit(main())
"""


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


@pytest.mark.parametrize(("key", "code"), [(b"xq", 0), (b"\x03", 130)])
async def test_a_person_ends_it_with_a_key(world: World, key: bytes, code: int):
    def sit_there() -> int:
        terminal, inside = os.openpty()
        before = termios.tcgetattr(inside)
        process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, "top", "--socket", str(world.socket)],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        try:
            said, deadline, is_pressed = b"", time.monotonic() + PATIENCE, False
            while process.poll() is None:
                assert time.monotonic() < deadline, said
                if select.select([terminal], [], [], 0.1)[0]:
                    said += os.read(terminal, 65536)
                if b"demo" in said and not is_pressed:
                    is_pressed = os.write(terminal, key) > 0
            return process.returncode
        finally:
            process.kill()
            process.wait()
            assert termios.tcgetattr(inside) == before
            os.close(inside)
            os.close(terminal)

    assert await trio.to_thread.run_sync(sit_there) == code


def test_it_needs_a_terminal(capsys: pytest.CaptureFixture[str]):
    assert main(["top"]) == 2
    assert "status --watch" in capsys.readouterr().err
