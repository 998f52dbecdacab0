from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from onemcp.backend.process import StderrLimits, StopPolicy, _process
from onemcp.backend.process._stderr import StderrLog
from tests.support.process_tree import alive
from tests.support.turns import counting_turns

LIMITS = StderrLimits(line=8, rate=3, window=1.0, tail=4)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_lines_are_reported_whole_however_they_are_cut():
    log = StderrLog(LIMITS)
    assert log.feed(b"on", 0) == []
    assert log.tail == ("on",)
    assert log.feed(b"e\r\ntwo\nth", 0) == ["one", "two"]
    assert log.feed(b"", 0) == []
    assert log.close(0) == ["th"]
    assert log.close(0) == []
    assert log.tail == ("one", "two", "th")


def test_a_long_line_is_cut():
    log = StderrLog(LIMITS)
    assert log.feed(b"12345678\n", 0) == ["12345678"]
    assert log.feed(b"1234 6789", 0) == []
    for _ in range(100):
        assert log.feed(b"x" * 1000, 0) == []
    assert log.feed(b"\nnext\n", 0) == ["1234 [truncated]", "next"]


def test_too_many_lines_are_counted_and_the_last_ones_kept():
    log = StderrLog(LIMITS)
    assert log.feed(b"".join(b"%d\n" % i for i in range(10)), 0) == ["0", "1", "2"]
    assert log.tail == ("6", "7", "8", "9")
    assert log.due == 1.0
    assert log.feed(b"10\n", 0.5) == []
    assert log.feed(b"", 1.0) == ["[8 lines of stderr dropped]"]
    assert log.due == float("inf")
    assert log.feed(b"11\n", 1.5) == ["11"]


def test_the_end_tells_how_many_lines_were_dropped():
    log = StderrLog(LIMITS)
    log.feed(b"1\n2\n3\n4\n5", 0)
    assert log.close(0) == ["[2 lines of stderr dropped]"]


def test_what_is_no_utf8_is_replaced():
    assert StderrLog(LIMITS).feed(b"\xff\n", 0) == ["\N{REPLACEMENT CHARACTER}"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_how_the_bytes_are_cut_makes_no_difference(data, cuts):
    limits = StderrLimits(line=8, rate=1000, tail=1000)
    whole, pieces = StderrLog(limits), StderrLog(limits)
    expected = whole.feed(data, 0) + whole.close(0)
    reported = []
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    for begin, end in pairwise(edges):
        reported += pieces.feed(data[begin:end], 0)
    assert reported + pieces.close(0) == expected
    assert pieces.tail == whole.tail == tuple(expected)


async def test_lines_are_reported_while_the_program_runs(python):
    send, receive = trio.open_memory_channel[str](10)
    program = "import sys; print('hello', file=sys.stderr, flush=True); sys.stdin.read()"
    async with python(program, on_stderr=send.send_nowait) as process:
        assert await receive.receive() == "hello"
        assert process.stderr_tail == ("hello",)


async def test_the_last_words_of_a_crash_are_there_when_waiting_is_over(python):
    program = "import sys; sys.stderr.write('\\n'.join(map(str, range(1000)))); sys.exit(1)"
    async with python(program) as process:
        assert await process.wait() == 1
        assert process.stderr_tail[-2:] == ("998", "999")
        assert len(process.stderr_tail) == 50


@pytest.mark.parametrize("ending", ["\\n", ""])
async def test_a_flood_costs_bounded_memory_and_does_not_stall_the_program(python, ending):
    lines: list[str] = []
    program = f"""
import os
chunk = (b"x" * 99 + b"{ending}") * 1000
for _ in range(200):
    view = memoryview(chunk)
    while view: view = view[os.write(2, view):]
os.write(2, b"\\nlast")
"""
    before = resident()
    async with python(program, on_stderr=lines.append) as process:
        assert await process.wait() == 0
    assert resident() - before < 32_000_000
    assert process.stderr_tail[-1] == "last"
    assert len(lines) < 10_000
    if ending:
        assert sum(int(line[1:].split()[0]) for line in lines if "dropped" in line) > 180_000
    else:
        assert lines[0].endswith("x [truncated]")


async def test_a_flood_is_read_so_many_times_a_second_and_no_more(python, monkeypatch):
    reads, feed = [], StderrLog.feed

    def count(log: StderrLog, data: bytes, now: float) -> list[str]:
        reads.append(now)
        return feed(log, data, now)

    monkeypatch.setattr(StderrLog, "feed", count)
    async with python("import os\nfor _ in range(20): os.write(2, b'x\\n' * 32768)") as process:
        assert await process.wait() == 0
    assert len(reads) >= 20
    # Reading waits in between, however slow the machine is.
    assert all(later - read >= _process._GATHERED for read, later in pairwise(reads))


async def test_others_have_their_turn_while_a_flood_is_reported(python):
    seen = []
    async with counting_turns() as turns:
        program = "import os; os.write(2, b'x\\n' * 150)"  # less than what is dropped
        async with python(program, on_stderr=lambda _: seen.append(turns())) as process:
            assert await process.wait() == 0
    assert len(seen) == 150
    assert max(seen.count(turn) for turn in seen) <= 2


async def test_what_was_dropped_is_told_without_further_output(python):
    send, receive = trio.open_memory_channel[str](10)
    program = "import sys; print('a\\nb\\nc', file=sys.stderr, flush=True); sys.stdin.read()"
    limits = StderrLimits(rate=1, window=0.02)
    async with python(program, on_stderr=send.send_nowait, limits=limits):
        assert await receive.receive() == "a"
        assert await receive.receive() == "[2 lines of stderr dropped]"


async def test_what_the_callback_raises_leaves_the_block(python):
    error = RuntimeError("callback")

    def broken(_: str) -> None:
        raise error

    with pytest.raises(RuntimeError, match="callback") as caught:
        async with python("print('x', file=__import__('sys').stderr)", on_stderr=broken):
            await trio.sleep_forever()
    assert caught.value is error


async def test_both_errors_are_told_if_the_body_and_the_callback_raise(python):
    def broken(_: str) -> None:
        raise RuntimeError("callback")

    with pytest.raises(ExceptionGroup) as caught:
        async with python("import sys; sys.stderr.write(sys.stdin.read() + 'x')", on_stderr=broken):
            raise ValueError("body")
    assert set(map(type, caught.value.exceptions)) == {ValueError, RuntimeError}


async def test_an_inherited_stderr_that_is_never_closed_does_not_delay_the_end(python):
    program = """
import os, signal, sys
if os.fork() == 0:
    os.close(1)
    os.setsid()
    while True: signal.pause()
"""
    async with python(program, stop=StopPolicy(eof=20, terminate=0.05, kill=20)) as process:
        assert await process.wait() == 0
    assert not alive(process.pid)
