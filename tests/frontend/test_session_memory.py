"""What is noted about sessions: durably, together, and honestly where that is impossible."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from onemcp.frontend import SessionMemory, SessionNotNoted
from onemcp.frontend.session import memory as memory_module
from onemcp.frontend.session.memory import MAX_NOTES_BYTES, Notes, Record
from onemcp.frontend.session.passport import Passport, SessionRefused
from onemcp.state import Ledger, Note, StateUnwritable, ledger_in_memory, open_ledger


def passport(key: bytes = b"k" * 16, opened: float = 1000.0) -> Passport:
    return Passport(key, b"holder", "2025-11-25", b"{}", None, opened, 9e9)


def nothing(_: Any) -> None:
    raise AssertionError("nothing goes wrong here")


async def over(memory: SessionMemory, of: Passport | None = None) -> str:
    with pytest.raises(SessionRefused) as refused:
        await memory.recall(of or passport())
    return str(refused.value)


class FailingLedger(Ledger):
    """A ledger on a disk that is broken."""

    def __init__(self) -> None:
        super().__init__(sqlite3.connect(":memory:"), is_durable=False)
        self.broken = True
        self.written: list[Note] = []

    def read(self, key: bytes, made: float) -> bytes | None:
        if self.broken:
            raise StateUnwritable("Cannot read: broken.")
        return None

    def write(self, notes: Sequence[Note]) -> None:
        if self.broken:
            raise StateUnwritable("Cannot write: broken.")
        self.written += notes


async def test_what_was_noted_is_recalled_after_a_restart(tmp_path: Path):
    with closing(open_ledger(tmp_path)) as ledger:
        record = Record(SessionMemory(ledger, nothing), passport())
        await record.change(level="debug")
        await record.change(uris=("x://a", "x://b"))
        await record.change(level="debug")
    with closing(open_ledger(tmp_path)) as ledger:
        memory = SessionMemory(ledger, nothing)
        assert await memory.recall(passport()) == Notes(level="debug", uris=("x://a", "x://b"))
        assert await memory.recall(passport(b"other" * 3)) == Notes()


async def test_a_session_that_has_ended_stays_so(tmp_path: Path):
    with closing(open_ledger(tmp_path)) as ledger:
        memory = SessionMemory(ledger, nothing)
        record = Record(memory, passport())
        await record.end()
        await record.change(level="debug")
        assert await over(memory) == "it has ended"
    with closing(open_ledger(tmp_path)) as ledger:
        assert await over(SessionMemory(ledger, nothing)) == "it has ended"


async def test_a_session_with_more_to_note_than_is_noted_does_not_outlive_the_process():
    memory = SessionMemory(ledger_in_memory(), nothing)
    record = Record(memory, passport())
    await record.change(uris=("x://" + "y" * MAX_NOTES_BYTES,))
    assert not record.notes.ended
    assert await over(memory) == "it has ended"
    await record.change(uris=())
    assert await memory.recall(passport()) == Notes()


async def test_what_is_too_old_to_be_known_counts_as_ended():
    memory = SessionMemory(ledger_in_memory(forgotten=1000.0), nothing)
    assert "too old" in await over(memory)
    assert await memory.recall(passport(opened=1000.5)) == Notes()


async def test_changes_that_come_while_the_disk_is_busy_are_written_together(tmp_path: Path):
    batches: list[int] = []

    class Counting(Ledger):
        def write(self, notes: Sequence[Note]) -> None:
            batches.append(len(notes))
            super().write(notes)

    with closing(open_ledger(tmp_path)) as opened:
        ledger = Counting(opened._connection, is_durable=False)
        memory = SessionMemory(ledger, nothing)
        async with trio.open_nursery() as nursery:
            await memory._lock.acquire()
            for number in range(50):
                of = passport(number.to_bytes(16, "big"))
                nursery.start_soon(memory.note, of, Notes(level="debug"))
            await wait_all_tasks_blocked()
            memory._lock.release()
        assert batches == [50]


async def test_what_cannot_be_written_holds_until_the_process_ends_and_is_told():
    events: list[SessionNotNoted] = []
    ledger = FailingLedger()
    with closing(ledger):
        memory = SessionMemory(ledger, events.append)
        await Record(memory, passport()).end()
        assert await over(memory) == "it has ended"
        assert [event.reason for event in events] == ["Cannot write: broken."]
        ledger.broken = False
        await Record(memory, passport(b"other" * 3)).change(level="debug")
        assert {note.key for note in ledger.written} == {b"k" * 16, b"other" * 3}
        assert memory._unwritten == {}


async def test_what_cannot_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_module, "MAX_UNWRITTEN", 2)
    ledger = FailingLedger()
    with closing(ledger):
        memory = SessionMemory(ledger, lambda _: None)
        for number in range(4):
            await Record(memory, passport(bytes([number]))).end()
        assert list(memory._unwritten) == [b"\x02", b"\x03"]


async def test_what_cannot_be_read_counts_as_ended_and_is_told():
    events: list[SessionNotNoted] = []
    ledger = FailingLedger()
    with closing(ledger):
        assert "can't be read" in await over(SessionMemory(ledger, events.append))
    assert [event.reason for event in events] == ["Cannot read: broken."]
