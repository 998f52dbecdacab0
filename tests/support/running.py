"""Run onemcp as the process that a user runs, read its log, and see that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.support.process_tree import alive, descendants, marked
from tests.support.processes import ENDPOINT

COMMAND = (sys.executable, "-m", "onemcp", "run")
PROGRAM = Path(__file__).parents[1] / "e2e" / "programs" / "backend.py"
MARKER = "ONEMCP_TEST_RUN"
PATIENCE = 60.0
"""Seconds that a test may take with a gateway."""
STOP = 20.0
"""Seconds that a gateway may take to stop, before it is killed."""

Line = dict[str, Any]


class Gateway:
    """A running gateway.

    Attributes:
        process: Its process.
        config: Its configuration file.
        url: The endpoint that it printed.
        marker: What the environment of all its backends carries.
        log: The lines of its log; what is no JSON has the one member `text`.
    """

    def __init__(self, process: trio.Process, config: Path, marker: str) -> None:
        self.process = process
        self.config = config
        self.url = ""
        self.marker = marker
        self.log: list[Line] = []
        self._news = trio.Event()

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self, event: str | None = None, **members: Any) -> list[Line]:
        """Return the lines of the log about an event."""
        wanted = members if event is None else {"event": event, **members}
        return [line for line in self.log if wanted.items() <= line.items()]

    async def logged(self, event: str, *, times: int = 1, **members: Any) -> Line:
        """Wait until something has been logged so many times; return the last line about it."""
        while len(found := self.lines(event, **members)) < times:
            await self._news.wait()
        return found[times - 1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the log shows something."""
        while not condition():
            await self._news.wait()

    async def ready(self, *backends: str) -> None:
        """Wait until backends are up."""
        for name in backends:
            await self.logged("backend_ready", backend=name)

    def rewrite(self, document: Line | str) -> None:
        """Change the configuration."""
        write(self.config, document)

    def family(self) -> set[int]:
        """Return the processes that the gateway has started, and theirs."""
        return descendants(self.pid) | (marked(self.marker) - {self.pid})

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stopped(self) -> int:
        """Wait for the end of the process; return its exit code."""
        return await self.process.wait()

    async def read_stdout(self, *, task_status: trio.TaskStatus[None]) -> None:
        assert self.process.stdout is not None
        said = b""
        async for chunk in self.process.stdout:
            said += chunk
            if not self.url and (match := ENDPOINT.search(said.decode())):
                self.url = match[0]
                task_status.started()
        if not self.url:
            await self.process.wait()
            raise AssertionError(f"it printed no endpoint: {said!r}")

    async def read_stderr(self) -> None:
        assert self.process.stderr is not None
        rest = b""
        async for chunk in self.process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            self.log.extend(map(_parsed, lines))
            self._news.set()
            self._news = trio.Event()


def _parsed(line: bytes) -> Line:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"text": line.decode(errors="replace")}


def program(*arguments: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of a backend that runs the program of the tests."""
    args = ["-S", "-E", str(PROGRAM), *arguments]
    return {"command": sys.executable, "args": args, "inherit": [MARKER], **settings}


def configuration(backends: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a configuration that asks for no token."""
    return {"mcpServers": dict(backends), "auth": {"mode": "none"}, **sections}


def write(path: Path, document: Line | str) -> None:
    """Write a file as editors do: a new one takes the place of the old."""
    text = document if isinstance(document, str) else json.dumps(document, indent=2)
    fresh = path.with_name(".fresh")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def command(config: Path, *options: str) -> list[str]:
    """Return the command line of a gateway on a free port."""
    return [*COMMAND, "--config", str(config), "--port", "0", *options]


@asynccontextmanager
async def running(
    config: Path,
    document: Line,
    *,
    environ: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Gateway]:
    """Run a gateway for as long as the block runs; afterwards nothing of it is alive.

    Where it has not been ended by then, it must end with status 0 when it is told to.
    """
    write(config, document)
    marker = uuid.uuid4().hex
    process = await trio.lowlevel.open_process(
        command(config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, MARKER: marker, **(environ or {})},
    )
    gateway = Gateway(process, config, marker)
    family: set[int] = set()
    try:
        with trio.fail_after(patience):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(gateway.read_stderr)
                await nursery.start(gateway.read_stdout)
                yield gateway
                if process.returncode is None:
                    family = gateway.family()
                    gateway.signal(signal.SIGTERM)
                    with trio.fail_after(STOP):
                        assert await gateway.stopped() == 0
    except BaseException:
        print(
            *[line for line in gateway.log if line.get("event") != "backend_stderr"][-99:], sep="\n"
        )
        raise
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    left = {pid for pid in family if alive(pid)} | marked(marker)
    assert left == set(), f"{len(left)} processes outlive the gateway"
