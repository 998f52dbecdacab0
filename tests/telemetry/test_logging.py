from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from onemcp.config import Log
from onemcp.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    names = ["watchfiles", "httpx", "httpcore", "hpack", "hypercorn.access"]
    loggers = [logging.getLogger(), *map(logging.getLogger, names)]
    before = [(logger.level, [*logger.handlers], logger.disabled) for logger in loggers]
    yield
    for logger, (level, handlers, disabled) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.disabled = disabled


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_lines_are_json():
    stream = io.StringIO()
    configure_logging(Log(), stream).info("started", backend="github", seconds=0.5)
    [line] = _lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "started", "level": "info", "backend": "github", "seconds": 0.5}


def test_on_a_terminal_lines_are_for_people_and_in_colour(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    configure_logging(Log(), stream).info("started", backend="github")
    assert "\x1b[" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    configure_logging(Log(), stream).info("started", backend="github")
    assert "\x1b[" not in stream.getvalue()
    assert stream.getvalue().strip().endswith("[info     ] started backend=github")


def test_format_can_be_chosen():
    stream = Terminal()
    configure_logging(Log(format="json"), stream).info("started")
    assert _lines(stream)[0]["event"] == "started"
    stream = io.StringIO()
    configure_logging(Log(format="human"), stream).info("started")
    assert "\x1b[" not in stream.getvalue()
    assert "] started" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(level, events):
    stream = io.StringIO()
    logger = configure_logging(Log(level=level), stream)
    for name in ["debug", "info", "warning", "error"]:
        getattr(logger, name)(name)
        logging.getLogger("somebody").log(getattr(logging, name.upper()), "library %s", name)
    assert [line["event"] for line in _lines(stream)] == [
        event for name in events for event in (name, f"library {name}")
    ]


def test_logs_of_libraries_are_led_here():
    stream = io.StringIO()
    configure_logging(Log(level="debug"), stream)
    logging.getLogger("hypercorn.error").info("Running on %s", "http://\x1b127.0.0.1")
    logging.getLogger("hypercorn.access").error("GET /")
    for name in ["httpx", "httpcore.http11", "watchfiles.main"]:
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("matter")
    logging.getLogger("x").log(5, "below debug")
    logging.getLogger("x").log(60, "above critical")
    assert [(line["level"], line["logger"], line["event"]) for line in _lines(stream)] == [
        ("info", "hypercorn.error", r"Running on http://\x1b127.0.0.1"),
        ("warning", "httpx", "matter"),
        ("warning", "httpcore.http11", "matter"),
        ("warning", "watchfiles.main", "matter"),
        ("critical", "x", "above critical"),
    ]


def test_exceptions_of_libraries_are_described_in_the_same_line():
    stream = io.StringIO()
    configure_logging(Log(), stream)
    logging.getLogger("x").error("failed", exc_info=ValueError("Bearer abc"))
    logging.getLogger("x").error("no exception", exc_info=(None, None, None))
    first, second = _lines(stream)
    assert first["reason"] == "ValueError: Bearer [redacted]"
    assert "reason" not in second


def test_records_that_cannot_be_written_are_told_of():
    stream = io.StringIO()
    configure_logging(Log(), stream)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%d", ("no number",), None)
    [*_, handler] = logging.getLogger().handlers
    handler.emit(record)  # pytest's own handler would raise
    [line] = _lines(stream)
    assert (line["event"], line["logger"]) == ("log_failed", "x")


def test_configuring_again_replaces_the_former_logger():
    first, second = io.StringIO(), io.StringIO()
    configure_logging(Log(level="debug"), first)
    configure_logging(Log(level="error"), second)
    logging.getLogger("x").warning("left out")
    logging.getLogger("x").error("written")
    assert first.getvalue() == ""
    assert [line["event"] for line in _lines(second)] == ["written"]


@pytest.mark.parametrize("form", ["json", "human"])
def test_nothing_dangerous_gets_through(form):
    stream = io.StringIO()
    hostile = "\x1b]0;x\x07\n2026 [error] forged token=hush \u202e"
    configure_logging(Log(format=form), stream).warning(
        hostile, line=hostile, headers={"a": "hush"}, nested=[{hostile: hostile}], **{hostile: 1}
    )
    [line] = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "hush" not in line


def test_one_value_does_not_pass_for_several():
    stream = io.StringIO()
    logger = configure_logging(Log(format="human"), stream)
    logger.info("x", line="a level=error", plain="ümläut")
    assert stream.getvalue().strip().endswith("x line='a level=error' plain=ümläut")


def test_people_see_the_message_and_programs_both():
    stream = io.StringIO()
    configure_logging(Log(format="human"), stream).info("some_event", message="What happened")
    assert "some_event" not in stream.getvalue()
    assert "] What happened" in stream.getvalue()
    stream = io.StringIO()
    configure_logging(Log(), stream).info("some_event", message="What happened")
    assert _lines(stream)[0]["event"] == "some_event"
    assert _lines(stream)[0]["message"] == "What happened"


def test_tracebacks_keep_their_lines():
    stream = io.StringIO()
    configure_logging(Log(format="human"), stream).error("x", exception="Traceback\n\x1bforged")
    assert stream.getvalue().endswith("x\nTraceback\n    \\x1bforged\n")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


def test_values_that_cannot_be_shown_do_not_raise():
    stream = io.StringIO()
    configure_logging(Log(), stream).info("x", value=Broken(), other=1)
    [line] = _lines(stream)
    assert (line["value"], line["other"]) == ("[unprintable Broken]", 1)


def test_streams_that_are_gone_do_not_raise():
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    configure_logging(Log(), stream).info("nobody reads this")
    with contextlib.suppress(BrokenPipeError):
        stream.close()
    closed = io.StringIO()
    closed.close()
    configure_logging(Log(), closed).info("nor this")


def test_characters_that_a_terminal_does_not_know_are_escaped():
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    configure_logging(Log(format="human"), stream).info("x", name="Jürgen")
    assert buffer.getvalue().endswith(b"x name=J\\xfcrgen\n")


@pytest.mark.parametrize("form", ["json", "human"])
@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_the_journal_gets_a_priority_before_every_line(tmp_path, form, level, priority):
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        logger = configure_logging(Log(level="debug", format=form), stream, environ)
        getattr(logger, level)("crashed", exception="Traceback:\n  line\nValueError")
    lines = path.read_text().splitlines()
    assert lines
    assert all(line.startswith(f"<{priority}>") for line in lines)
    if form == "json":
        assert json.loads(lines[0][3:])["event"] == "crashed"


def test_what_the_journal_does_not_read_has_no_priorities(tmp_path):
    path = tmp_path / "elsewhere"
    with path.open("w") as stream:
        configure_logging(Log(), stream, {"JOURNAL_STREAM": "1:2"}).info("started")
    assert path.read_text().startswith("{")
    lines = io.StringIO()
    configure_logging(Log(), lines, {"JOURNAL_STREAM": "1:2"}).info("started")
    assert lines.getvalue().startswith("{")
