"""Run a server as a real process, and find out where it listens."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

ENDPOINT = re.compile(r"http://127\.0\.0\.1:\d+/mcp")
START_TIMEOUT = 60
"""Seconds until a server must have said where it listens."""
STOP_TIMEOUT = 10
"""Seconds that a server has to exit after SIGTERM, before it is killed."""
KEPT_LINES = 200


class ServerError(Exception):
    """A server did not start; the message has what it said."""


@dataclass
class Server:
    """A running server.

    Attributes:
        process: Its process.
        url: The endpoint that it printed.
        output: The latest lines of its stdout and stderr.
    """

    process: subprocess.Popen[str]
    url: str = ""
    output: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _listening: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.output.append(line)
            if not self._listening.is_set() and (match := ENDPOINT.search(line)):
                self.url = match[0]
                self._listening.set()
        self._ended.set()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._listening.wait(timeout=0.05):
            if self.process.poll() is not None:
                self._ended.wait(timeout=1)
                raise ServerError(f"It exited with {self.process.returncode}:\n{self.said()}")
            if time.monotonic() > deadline:
                raise ServerError(f"It printed no endpoint in {START_TIMEOUT} s:\n{self.said()}")

    def said(self) -> str:
        return "".join(self.output)

    def wait_said(self, text: str) -> None:
        """Wait until it has said something.

        Raises:
            ServerError: It doesn't in time.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while text not in self.said():
            if time.monotonic() > deadline:
                raise ServerError(f"It has not said {text!r}:\n{self.said()}")
            time.sleep(0.05)


@contextmanager
def serving(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server for as long as the block runs.

    Raises:
        ServerError: It exited or stayed silent instead of printing its endpoint.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    server = Server(process)
    reader = threading.Thread(target=server._read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        server._wait()
        yield server
    finally:
        _stop(process)
        reader.join(timeout=STOP_TIMEOUT)
        process.stdout.close()


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
