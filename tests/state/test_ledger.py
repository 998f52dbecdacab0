"""The ledger: notes are there as a whole or not at all, and nothing that has ended comes back."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onemcp.state import (
    Forgotten,
    Ledger,
    Note,
    StateError,
    StateUnwritable,
    _ledger,
    ledger_in_memory,
    open_ledger,
)

NOW = 1000.0

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from onemcp.state import Note, open_ledger

ledger = open_ledger(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    key = number.to_bytes(4, "big")
    ledger.write([Note(key, 1.0, 1e12, key * 100), Note(key + b"!", 1.0, 1e12, key * 100)])
    print(number, flush=True)
"""


def clock() -> float:
    return NOW


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def ledger(state: Path) -> Iterator[Ledger]:
    with closing(open_ledger(state, clock)) as opened:
        yield opened


def note(key: bytes, data: bytes = b"x", *, made: float = NOW, expires: float = 9e9) -> Note:
    return Note(key, made, expires, data)


def keys(ledger: Ledger) -> set[bytes]:
    return {row[0] for row in ledger._connection.execute("SELECT key FROM notes")}


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_the_latest_note_is_read(state: Path, kind: str):
    made = open_ledger(state, clock) if kind == "file" else ledger_in_memory(wall_clock=clock)
    with closing(made) as ledger:
        assert ledger.read(b"a", NOW) is None
        ledger.write([note(b"a", b"1"), note(b"b", b"2")])
        ledger.write([note(b"a", b"3")])
        assert (ledger.read(b"a", NOW), ledger.read(b"b", NOW)) == (b"3", b"2")
        assert ledger.is_durable == (kind == "file")
        assert b"3" not in repr(ledger).encode()


def test_notes_outlive_the_process(state: Path, ledger: Ledger):
    ledger.write([note(b"a", b"1")])
    with closing(open_ledger(state, clock)) as again:
        assert again.read(b"a", NOW) == b"1"


def test_processes_share_the_file(state: Path, ledger: Ledger):
    with closing(open_ledger(state, clock)) as other:
        other.write([note(b"a", b"1")])
        assert ledger.read(b"a", NOW) == b"1"
        ledger.write([note(b"a", b"2")])
        assert other.read(b"a", NOW) == b"2"


def test_the_files_are_for_their_owner_only(state: Path):
    before = os.umask(0)
    try:
        with closing(open_ledger(state)) as ledger:
            ledger.write([note(b"a")])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"sessions.db", "sessions.db-wal", "sessions.lock"}
    assert set(modes.values()) == {0o600}


def test_what_has_expired_is_not_kept(state: Path, ledger: Ledger):
    ledger.write([note(b"old", expires=NOW), note(b"young", expires=NOW + 1)])
    with closing(open_ledger(state, clock)) as again:
        assert keys(again) == {b"young"}


def test_when_it_is_full_what_was_made_by_then_is_forgotten_with_its_note(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_ledger, "MAX_NOTES", 3)
    monkeypatch.setattr(_ledger, "PRUNE_EVERY", 5)
    ledger.write([note(b"%d" % number, made=float(number)) for number in range(1, 6)])
    assert keys(ledger) == {b"3", b"4", b"5"}
    with pytest.raises(Forgotten):
        ledger.read(b"1", 1.0)
    with pytest.raises(Forgotten):
        ledger.read(b"never heard of", 2.0)
    assert ledger.read(b"never heard of", 2.1) is None
    ledger.write([note(b"%d" % number, made=float(number)) for number in range(6, 11)])
    assert keys(ledger) == {b"8", b"9", b"10"}
    with pytest.raises(Forgotten):
        ledger.read(b"5", 5.0)


def test_notes_are_bounded_in_size_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_ledger, "MAX_BYTES", 25)
    monkeypatch.setattr(_ledger, "PRUNE_EVERY", 4)
    ledger.write([note(b"%d" % number, b"x" * 10, made=float(number)) for number in range(4)])
    assert keys(ledger) == {b"2", b"3"}


def test_what_was_forgotten_stays_so(state: Path):
    with closing(open_ledger(state, clock)) as ledger:
        ledger.forget(5.0)
        ledger.forget(3.0)
    with closing(open_ledger(state, clock)) as again, pytest.raises(Forgotten):
        again.read(b"a", 5.0)


def test_a_ledger_in_memory_may_know_nothing_of_before():
    with closing(ledger_in_memory(NOW)) as ledger:
        with pytest.raises(Forgotten):
            ledger.read(b"a", NOW)
        assert ledger.read(b"a", NOW + 1) is None


# --- what goes wrong ---------------------------------------------------------------------------


def broken_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


def another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all, but long enough to be one" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        broken_page,
        another_version,
    ],
)
def test_a_damaged_file_is_put_aside_and_all_before_it_forgotten(state: Path, damage):
    with closing(open_ledger(state, clock)) as ledger:
        ledger.write([note(b"%d" % number, b"x" * 1000) for number in range(100)])
    path = state / "sessions.db"
    damage(path)
    with closing(open_ledger(state, lambda: NOW + 5)) as again:
        assert again.was_damaged
        with pytest.raises(Forgotten):
            again.read(b"1", NOW + 5)
        assert again.read(b"1", NOW + 6) is None
        again.write([note(b"a")])
    assert (state / "sessions.db.damaged").exists()
    with closing(open_ledger(state, clock)) as third:
        assert not third.was_damaged
        assert third.read(b"a", NOW) == b"x"


def test_a_directory_in_its_place_is_refused(state: Path):
    (state / "sessions.db").mkdir(parents=True)
    with pytest.raises(StateUnwritable, match=r"Cannot open .*sessions\.db"):
        open_ledger(state)


def test_a_directory_that_others_may_write_to_is_refused(state: Path):
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    with pytest.raises(StateError, match="chmod 700"):
        open_ledger(state)


def test_a_full_disk_is_told_and_what_was_there_stays(ledger: Ledger):
    ledger.write([note(b"a", b"1")])
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateUnwritable, match=r"Cannot write sessions\.db: .*full"):
        ledger.write([note(b"b", b"2" * 100_000), note(b"a", b"3")])
    assert ledger.read(b"a", NOW) == b"1"
    assert ledger.read(b"b", NOW) is None


def test_a_ledger_that_cannot_be_read_says_so(ledger: Ledger):
    ledger._connection.execute("DROP TABLE notes")
    with pytest.raises(StateError, match="Cannot read"):
        ledger.read(b"a", NOW)


@pytest.mark.parametrize("written", [1, 3, 10, 40])
def test_killed_at_any_moment_it_has_kept_what_it_had_written(state: Path, written: int):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, state], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(written):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    last = written + len(process.stdout.read().split("\n")) - 1
    process.wait()
    process.stdout.close()
    with closing(open_ledger(state)) as ledger:
        assert not ledger.was_damaged
        for number in range(1, last + 1):
            key = number.to_bytes(4, "big")
            assert ledger.read(key, 1.0) == ledger.read(key + b"!", 1.0) == key * 100
        key = (last + 1).to_bytes(4, "big")  # written perhaps, but not said to be
        assert ledger.read(key, 1.0) == ledger.read(key + b"!", 1.0)
        assert ledger.read(key, 1.0) in {None, key * 100}


@pytest.mark.parametrize("length", [0, 1, 16, 100, 2000, 4096, 10_000])
def test_a_log_cut_off_anywhere_leaves_whole_notes(state: Path, tmp_path: Path, length: int):
    with closing(open_ledger(state, clock)) as ledger:
        for number in range(4):
            ledger.write([note(b"%d" % number), note(b"%d!" % number)])
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        for name in ("sessions.db", "sessions.db-wal"):
            (copy / name).write_bytes((state / name).read_bytes())
    log = copy / "sessions.db-wal"
    log.write_bytes(log.read_bytes()[:-length] if length else log.read_bytes())
    with closing(open_ledger(copy, clock)) as again:
        if not again.was_damaged:
            assert {key + b"!" for key in keys(again) if len(key) == 1} | {
                key for key in keys(again) if len(key) == 1
            } == keys(again)


def test_killed_while_it_puts_a_damaged_file_aside_it_has_forgotten_all_the_same(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    with closing(open_ledger(state, clock)) as ledger:
        ledger.write([note(b"a")])
    path = state / "sessions.db"
    path.write_bytes(b"\xff" * 5000)
    _ledger._put_aside(path, NOW)
    with closing(open_ledger(state, lambda: NOW + 5)) as again, pytest.raises(Forgotten):
        again.read(b"a", NOW)
