"""What strangers can cause at will does not fill the log."""

from __future__ import annotations

import json
from io import StringIO

import attrs

from onemcp.config import ConfigurationRepaired, Log
from onemcp.telemetry import LogEvents, configure_logging
from onemcp.telemetry._floods import MOST, WINDOW


@attrs.frozen
class Denied:
    number: int


@attrs.frozen
class AlsoDenied(Denied):
    pass


class Logged:
    def __init__(self) -> None:
        self.now = 100.0
        self._stream = StringIO()
        self.log = LogEvents(configure_logging(Log(), self._stream), clock=lambda: self.now)
        self.log.limit(Denied)

    @property
    def lines(self) -> list[dict[str, object]]:
        text = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return [json.loads(line) for line in text.splitlines()]


def test_of_a_flood_so_much_is_written_and_the_rest_is_counted():
    logged = Logged()
    for number in range(1000):
        logged.log(Denied(number))
    logged.log(AlsoDenied(7))  # counted by itself
    assert [line["number"] for line in logged.lines] == [*range(MOST), 7]
    logged.now += WINDOW
    logged.log(Denied(1000))
    left_out, next_one = logged.lines
    assert (left_out["event"], left_out["about"]) == ("events_left_out", "denied")
    assert left_out["count"] == 1000 - MOST
    assert next_one["number"] == 1000


def test_the_count_comes_with_whatever_is_logged_next():
    logged = Logged()
    for number in range(MOST + 1):
        logged.log(Denied(number))
    assert len(logged.lines) == MOST
    logged.log(ConfigurationRepaired())
    assert [line["event"] for line in logged.lines] == ["configuration_repaired"]
    logged.now += WINDOW
    logged.log(ConfigurationRepaired())
    assert [line["event"] for line in logged.lines] == ["events_left_out", "configuration_repaired"]
    logged.log(ConfigurationRepaired())
    assert len(logged.lines) == 1


def test_what_is_not_limited_is_all_written():
    logged = Logged()
    for _ in range(3 * MOST):
        logged.log(ConfigurationRepaired())
    assert len(logged.lines) == 3 * MOST
