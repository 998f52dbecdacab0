from __future__ import annotations

import json
from io import StringIO
from typing import Any

import attrs
import pytest

from onemcp.config import ConfigurationRejected, ConfigurationRepaired, Log, Problem
from onemcp.supervision import Event, What
from onemcp.telemetry import LogEvents
from onemcp.telemetry._events import OF_CHILDREN, OF_SUPERVISORS, _snake_case
from onemcp.telemetry._logging import configure_logging


class Lines:
    def __init__(self, level: Any = "debug", form: Any = "json") -> None:
        self.stream = StringIO()
        self.events = LogEvents(configure_logging(Log(level=level, format=form), self.stream))

    def of(self, event: object) -> Any:
        """Return the one line about an event, or None."""
        self.stream.seek(0)
        self.stream.truncate()
        self.events(event)
        text = self.stream.getvalue()
        if not text:
            return None
        [line] = text.splitlines()
        decoded = json.loads(line)
        del decoded["timestamp"]
        return decoded


@pytest.fixture
def lines() -> Lines:
    return Lines()


@attrs.frozen
class ToolVanished:
    backend: str
    name: str
    count: int | None = None
    level: str = "deep"


@attrs.frozen
class ToolVanishedAgain(ToolVanished):
    pass


def test_events_are_named_after_their_class_with_their_fields(lines):
    assert lines.of(ToolVanished("github", "search")) == {
        "event": "tool_vanished",
        "level": "info",
        "backend": "github",
        "name": "search",
        "level_": "deep",
    }


def test_levels_and_messages_are_those_registered(lines):
    lines.events.register(ToolVanished, "warning", "A tool has gone")
    for event in (ToolVanished("a", "b"), ToolVanishedAgain("a", "b")):
        line = lines.of(event)
        assert (line["level"], line["message"]) == ("warning", "A tool has gone")
    lines.events.register(ToolVanishedAgain, lambda event: "error" if event.count else "debug")
    assert lines.of(ToolVanishedAgain("a", "b"))["level"] == "debug"
    line = lines.of(ToolVanishedAgain("a", "b", 1))
    assert (line["level"], line["event"]) == ("error", "tool_vanished_again")
    assert "message" not in line


def test_events_below_the_level_are_not_written():
    lines = Lines("warning")
    assert lines.of(ToolVanished("a", "b")) is None
    assert lines.of(Event(supervisor="x", child="y", what=What.STARTED, at=0.0)) is None


def test_lines_of_programs_stand_under_their_name_and_do_no_harm(lines):
    @attrs.frozen
    class BackendStderr:
        backend: str
        line: str

    hostile = '\x1b[2J{"level":"error"}\r\nAuthorization: Bearer abc'
    assert lines.of(BackendStderr("github", hostile)) == {
        "event": "backend_stderr",
        "level": "info",
        "backend": "github",
        "line": r'\x1b[2J{"level":"error"}\r\nAuthorization: [redacted]',
    }


def test_every_supervision_event_has_a_level():
    assert OF_CHILDREN.keys() | OF_SUPERVISORS.keys() == set(What)
    assert not OF_CHILDREN.keys() & OF_SUPERVISORS.keys()


@pytest.mark.parametrize("what", What)
def test_every_supervision_event_is_written(what, lines):
    child = None if what in OF_SUPERVISORS else "frontend"
    line = lines.of(Event(supervisor="onemcp/gateway", child=child, what=what, at=1.0))
    assert line["supervisor"] == "onemcp/gateway"
    assert line.get("child") == child
    assert "backend" not in line
    assert line["event"].startswith("supervisor_" if child is None else "child_")


def test_supervision_of_backends_names_the_backend():
    lines = Lines("info")
    event = Event(
        supervisor="onemcp/gateway/backends/github",
        child="connection",
        what=What.RESTARTING,
        reason=ConnectionError("gone\x1b"),
        generation=3,
        at=10.0,
        next_attempt=10.75,
    )
    assert lines.of(event) == {
        "event": "child_restarting",
        "level": "info",
        "backend": "github",
        "supervisor": "onemcp/gateway/backends/github",
        "child": "connection",
        "generation": 3,
        "reason": r"ConnectionError: gone\x1b",
        "retry_in": 0.75,
    }
    event = Event(supervisor="onemcp/backends", child="files", what=What.EXHAUSTED, at=0.0)
    assert lines.of(event)["backend"] == "files"
    event = Event(supervisor="onemcp/backends", what=What.RELOADED, at=0.0)
    assert "backend" not in lines.of(event)


def test_crashes_that_are_told_otherwise_are_told_once():
    lines = Lines("info")
    lines.events.told_otherwise(ConnectionError)
    for what, written in ((What.CRASHED, False), (What.EXHAUSTED, False), (What.PAUSED, True)):
        event = Event(supervisor="x", child="y", what=what, reason=ConnectionError(), at=0.0)
        assert (lines.of(event) is not None) is written
    surprise = Event(supervisor="x", child="y", what=What.CRASHED, reason=OSError(), at=0.0)
    assert lines.of(surprise)["level"] == "warning"


def test_tracebacks_are_written_when_debugging(lines):
    with pytest.raises(ValueError, match="wrong") as caught:
        int("wrong")
    event = Event(supervisor="x", child="y", what=What.CRASHED, reason=caught.value, at=0.0)
    assert "test_tracebacks_are_written_when_debugging" in lines.of(event)["exception"]
    assert "exception" not in Lines("info").of(event)


@attrs.frozen
class RequestFailed:
    error: Exception


def test_tracebacks_of_errors_are_always_written():
    lines = Lines("info")
    lines.events.register(RequestFailed, "error")
    with pytest.raises(ValueError, match="wrong") as caught:
        int("wrong")
    line = lines.of(RequestFailed(caught.value))
    assert line["error"].startswith("ValueError: ")
    assert "test_tracebacks_of_errors_are_always_written" in line["exception"]
    lines.events.register(RequestFailed, "warning")
    assert "exception" not in lines.of(RequestFailed(caught.value))


def test_rejected_configurations_are_told_with_all_problems(lines):
    problems = (Problem(file="a.json", message="is empty"), Problem(file="b", line=1, message="x"))
    line = lines.of(ConfigurationRejected(problems))
    assert (line["event"], line["level"]) == ("configuration_rejected", "error")
    assert [problem["message"] for problem in line["problems"]] == ["is empty", "x"]
    line = lines.of(ConfigurationRepaired())
    assert (line["event"], line["level"]) == ("configuration_repaired", "info")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


@attrs.frozen
class Unreadable:
    value: object = attrs.field(repr=str)


def test_whatever_happens_nothing_is_raised(lines):
    assert lines.of("no event")["value"] == "no event"
    assert lines.of(Broken())["value"] == "[unprintable Broken]"
    line = lines.of(Unreadable(Broken()))
    assert (line["event"], line["about"], line["why"]) == (
        "log_failed",
        "Unreadable",
        "RuntimeError",
    )
    lines.events.register(ToolVanished, lambda _: "no level")  # type: ignore[arg-type,return-value]
    assert lines.of(ToolVanished("a", "b"))["event"] == "log_failed"


def test_logger_can_be_replaced(lines):
    stream = StringIO()
    lines.events.logger = configure_logging(Log(), stream)
    assert lines.of(ConfigurationRepaired()) is None
    assert "configuration_repaired" in stream.getvalue()
    assert repr(lines.events) == "<LogEvents rules=4>"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("BackendReady", "backend_ready"), ("HTTPServerGone", "http_server_gone"), ("X", "x")],
)
def test_class_names_become_event_names(name, expected):
    assert _snake_case(name) == expected
