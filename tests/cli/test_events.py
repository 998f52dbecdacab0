"""What is logged at which level."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from onemcp.app import SheddingChanged
from onemcp.backend import BackendStderr, ItemRejected, ToolWithheld
from onemcp.cli.events import new_log
from onemcp.config import Log
from onemcp.telemetry import configure_logging


@pytest.mark.requirement(
    "basic/transports/stdio#introduction-2", "basic/transports/streamable-http#schema-extension-11"
)
@pytest.mark.parametrize(
    ("event", "level", "fields"),
    [
        (ItemRejected("b", "t", "why"), "warning", {"item": "t", "reason": "why"}),
        (ToolWithheld("b", "t", "why"), "warning", {"tool": "t", "reason": "why"}),
        (BackendStderr("b", "ERROR: x"), "info", {"line": "ERROR: x"}),
    ],
)
def test_events_of_backends_have_their_level(event: object, level: str, fields: dict[str, Any]):
    stream = StringIO()
    new_log(configure_logging(Log(level="debug", format="json"), stream))(event)
    line = json.loads(stream.getvalue())
    assert line["level"] == level
    assert line["backend"] == "b"
    assert line.items() >= fields.items()


@pytest.mark.parametrize(
    ("before", "level", "logged"), [(0, 1, "warning"), (1, 2, "warning"), (2, 1, "info")]
)
def test_shedding_more_is_a_warning_and_less_is_none(before: int, level: int, logged: str):
    stream = StringIO()
    event = SheddingChanged(level, before, "onemcp is short of memory", 900.5, 0.0)
    new_log(configure_logging(Log(format="json"), stream))(event)
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["level"], line["event"]) == (logged, "shedding_changed")
    assert line["reason"] == "onemcp is short of memory"
