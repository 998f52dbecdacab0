"""Writing to real pipes that nobody reads, without waiting for anybody."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from onemcp.config import Log
from onemcp.telemetry import BackgroundWriter, configure_logging

PATIENCE = 60
PIPE = 64 * 1024
"""How much a pipe holds."""


class Pipe:
    """A pipe, the end of which is read when a test says."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self.stream: TextIO = os.fdopen(write, "w", encoding="utf-8")

    def read(self, size: int = PIPE) -> str:
        return os.read(self._read, size).decode()

    def read_all(self) -> str:
        """Read to the end, which the writer's end must come to."""
        self.stream.close()
        with os.fdopen(os.dup(self._read), encoding="utf-8") as stream:
            return stream.read()

    def stop_reading(self) -> None:
        os.close(self._read)
        self._read = -1

    def close(self) -> None:
        self.stream.close()
        if self._read >= 0:
            self.stop_reading()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    opened.close()


def test_what_is_written_arrives_in_order_and_before_the_end(pipe):
    with BackgroundWriter(pipe.stream) as writer:
        for number in range(100):
            writer.write(f"{number} é\n")
        writer.flush()
        assert writer.fileno() == pipe.stream.fileno()
        assert not writer.isatty()
    assert pipe.read_all().split("\n")[:-1] == [f"{number} é" for number in range(100)]
    writer.write("too late\n")


def test_a_reader_that_does_not_read_stops_nobody_and_is_told_what_is_missing(pipe):
    line = "x" * 1023 + "\n"
    writer = BackgroundWriter(pipe.stream, most=2 * PIPE)
    dropped: list[int] = []
    told = threading.Event()
    writer.on_dropped = lambda count: (dropped.append(count), told.set())
    for _ in range(1000):
        writer.write(line)  # far more than the pipe and the writer hold
    assert not dropped
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(pipe_rest(pipe)))
    reader.start()
    assert told.wait(PATIENCE)
    writer.close(PATIENCE)
    pipe.stream.close()
    reader.join(PATIENCE)
    # It may be told in two parts, if the writer was at work in between.
    assert seen[0] + sum(dropped) == 1000
    assert sum(dropped) > 500


def pipe_rest(pipe: Pipe) -> int:
    seen = 0
    while text := pipe.read():
        seen += text.count("\n")
    return seen


def test_the_end_does_not_wait_for_a_reader_that_does_not_read(pipe):
    writer = BackgroundWriter(pipe.stream)
    writer.write("x" * (4 * PIPE))
    writer.close(0.01)
    pipe.stop_reading()  # so that the thread, which is still there, can end
    writer.close(PATIENCE)


def test_lines_that_were_left_out_are_counted_in_the_log(pipe):
    writer = BackgroundWriter(pipe.stream)
    logger = configure_logging(Log(), writer)
    logger.info("one")
    writer.on_dropped(7)
    writer.close(PATIENCE)
    one, left_out = map(json.loads, pipe.read_all().splitlines())
    assert one["event"] == "one"
    assert (left_out["event"], left_out["count"]) == ("log_lines_dropped", 7)


def test_a_pipe_without_blocking_is_written_to_all_the_same(pipe):
    os.set_blocking(pipe.stream.fileno(), False)
    writer = BackgroundWriter(pipe.stream)
    writer.write("x" * (3 * PIPE) + "\n")
    seen = 0
    while seen < 3 * PIPE + 1:
        seen += len(pipe.read())
    writer.close(PATIENCE)


def test_a_stream_that_has_gone_is_nobodys_problem(pipe):
    gone = BackgroundWriter(io.StringIO())  # has no descriptor
    gone.write("x\n")
    gone.close(PATIENCE)
    pipe.stream.close()
    closed = BackgroundWriter(pipe.stream)
    closed.write("x\n")
    closed.close(PATIENCE)
