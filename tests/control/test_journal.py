"""What is remembered of backends: the last of it, and no more than there is room for."""

from __future__ import annotations

import trio

from onemcp.backend import BackendStderr
from onemcp.control import Journal, journal
from onemcp.supervision import Event, What


def test_the_last_lines_are_kept_within_bounds(monkeypatch):
    monkeypatch.setattr(journal, "KEPT_ENTRIES", 3)
    book = Journal(lambda: 5.0)
    for number in range(5):
        book(BackendStderr("a", f"line {number}"))
    assert [entry["line"] for entry in book.last("a", 10)] == ["line 2", "line 3", "line 4"]
    assert book.last("a", 1) == [
        {"time": 5.0, "event": "backend_stderr", "backend": "a", "line": "line 4"}
    ]
    assert book.last("a", 0) == []
    monkeypatch.setattr(journal, "KEPT_BYTES", 200)
    book(BackendStderr("a", "x" * 120))
    assert len(book.last("a", 10)) == 1


def test_what_is_gone_is_forgotten(monkeypatch):
    monkeypatch.setattr(journal, "KEPT_BACKENDS", 2)
    book = Journal()
    for name in "abc":
        book(BackendStderr(name, "x"))
    assert [bool(book.last(name, 1)) for name in "abc"] == [False, True, True]
    book.keep_only({"c"})
    assert [bool(book.last(name, 1)) for name in "abc"] == [False, False, True]


def test_no_secret_is_kept():
    book = Journal()
    book(BackendStderr("a", "password=hunter2"))
    assert "hunter2" not in str(book.last("a", 1))


async def test_who_is_behind_hears_how_much_was_missed(monkeypatch, autojump_clock):
    monkeypatch.setattr(journal, "BEHIND", 2)
    book = Journal()
    with book.listening() as listener, book.listening("other") as other:
        for number in range(5):
            book(BackendStderr("a", str(number)))
        book(Event(supervisor="x", what=What.RELOADED, at=0.0))
        heard = await listener.next()
        assert [entry.get("line") for entry in heard] == ["0", "1", None]
        assert heard[-1] == {"event": "missed", "count": 4}
        with trio.move_on_after(1) as patience:
            await other.next()
        assert patience.cancelled_caught
