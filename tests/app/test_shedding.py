"""What is turned away while memory or time is short: each level, in both eras, and its end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from onemcp import config
from onemcp.admission import Admission, Level
from onemcp.app import shedding
from onemcp.app.shedding import CALM, Reading, Shedder, SheddingChanged
from onemcp.cli.picture import picture
from onemcp.monitor import Meter
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.app.test_limits import OVERLOADED, Person, Place, Row, call, open_place, session, stream
from tests.frontend.site import HEADERS, request, until

LIMIT = 1000 * 1024 * 1024


@attrs.define
class Machine:
    """A gateway whose memory and lag are what a test says, by parts of what there may be.

    Attributes:
        memory: The part of its memory that is held.
        lag: How late tasks are woken, in seconds.
    """

    memory: float = 0.0
    lag: float = 0.0
    memory_limit: int | None = LIMIT
    configuration: config.Configuration = attrs.field(factory=config.Configuration)
    admission: Admission = attrs.field(factory=Admission)
    events: list[SheddingChanged] = attrs.field(factory=list)
    put_aside: int = 0

    def read(self) -> Reading:
        return Reading(round(self.memory * LIMIT), self.memory_limit, self.lag)

    @property
    def multiplexer(self) -> Any:
        return self

    @property
    def sessions(self) -> Any:
        @attrs.frozen
        class Sessions:
            machine: Machine

            def put_aside(self) -> None:
                self.machine.put_aside += 1

        return Sessions(self)

    @property
    def level(self) -> Level:
        return self.admission.shedding.level

    @property
    def steps(self) -> list[tuple[int, int]]:
        return [(event.before, event.level) for event in self.events]


@pytest.fixture
async def machine(nursery: trio.Nursery) -> Machine:
    machine = Machine()
    gateway: Any = machine
    shedder = Shedder(gateway, Meter(), machine.events.append, machine.read)
    await nursery.start(shedder.run)
    return machine


@pytest.mark.parametrize(
    ("memory", "lag", "level"),
    [
        (0.84, 0.9, Level.NORMAL),
        (0.86, 0.0, Level.NO_NEWCOMERS),
        (0.0, 1.1, Level.NO_NEWCOMERS),
        (0.96, 0.0, Level.FAIR_SHARES),
        (0.86, 4.1, Level.FAIR_SHARES),
    ],
)
async def test_each_level_is_reached_at_once_and_left_by_itself_step_by_step(
    machine: Machine, memory: float, lag: float, level: Level, autojump_clock: MockClock
):
    machine.memory, machine.lag = memory, lag
    await trio.sleep(2)
    assert machine.level is level
    await trio.sleep(5 * CALM)
    assert machine.level is level
    machine.memory = machine.lag = 0.0
    await trio.sleep(CALM - 1)
    assert machine.level is level
    await trio.sleep(level * (CALM + 2))
    assert (machine.level, machine.admission.shedding.reason) == (Level.NORMAL, "")
    up = [(0, level.value)] if level else []
    assert machine.steps == up + [(each, each - 1) for each in range(level, 0, -1)]
    assert bool(machine.put_aside) is (memory > 0.85), "sessions are for memory alone"


async def test_what_comes_and_goes_is_one_change(machine: Machine, autojump_clock: MockClock):
    for _ in range(10):
        machine.memory = 0.86
        await trio.sleep(CALM / 2)
        machine.memory = 0.5
        await trio.sleep(CALM / 2)
    assert machine.steps == [(0, 1)]
    for _ in range(10):  # somewhat below is not enough
        machine.memory = 0.84
        await trio.sleep(CALM)
    assert machine.steps == [(0, 1)]


async def test_both_resources_are_watched_on_their_own(machine: Machine, autojump_clock: MockClock):
    machine.memory, machine.lag = 0.86, 5.0
    await trio.sleep(2)
    assert "more to do" in machine.admission.shedding.reason
    machine.lag = 0.0
    await trio.sleep(3 * CALM)
    assert machine.level is Level.NO_NEWCOMERS
    assert "memory" in machine.admission.shedding.reason


async def test_the_configuration_says_how_much_there_may_be_at_once(
    machine: Machine, autojump_clock: MockClock
):
    machine.memory, machine.lag, machine.memory_limit = 0.5, 1.5, None
    await trio.sleep(2)
    assert machine.level is Level.NO_NEWCOMERS
    machine.configuration = config.Configuration(limits=config.Limits(lag=100.0))
    await trio.sleep(CALM + 2)
    assert machine.level is Level.NORMAL
    machine.configuration = config.Configuration(limits=config.Limits(memory=LIMIT // 2))
    machine.lag = 0.0
    await trio.sleep(2)
    assert machine.level is Level.FAIR_SHARES


def test_only_a_lag_that_lasts_counts():
    meter = Meter()
    for seconds in (9.0, 9.0, 0.1, 9.0, 2.0):
        meter.lagged(seconds)
        assert meter.lag <= 0.1
    meter.lagged(3.0)
    assert meter.lag == 2.0


def test_this_process_can_be_looked_at():
    reading = shedding.read(Meter())
    assert reading.memory is not None
    assert 1 << 20 < reading.memory < 1 << 34
    assert reading.lag == 0.0


# --- a whole gateway ---------------------------------------------------------------------------


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What a gateway that is made from now on reads of itself, a hundred times as often."""
    machine = Machine()
    monkeypatch.setattr(shedding, "read", lambda _: machine.read())
    monkeypatch.setattr(shedding, "INTERVAL", 0.01)
    monkeypatch.setattr(shedding, "CALM", 0.03)
    return machine


class LegacyClient:
    """A client with a session."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.headers = {**HEADERS, **person.credentials}

    async def open(self) -> LegacyClient:
        params = {"protocolVersion": LATEST_LEGACY, "capabilities": {}}
        client = await self.person.connect()
        answer = await client.ask("POST", "/mcp", self.headers, request("initialize", params))
        assert answer.status == 200
        self.headers |= {"mcp-session-id": answer.headers["mcp-session-id"]}
        return self

    async def ping(self) -> int:
        client = await self.person.connect()
        return (await client.ask("POST", "/mcp", self.headers, request("ping"))).status

    async def call(self) -> Any:
        message = request("tools/call", {"name": "alpha__t", "arguments": {}})
        client = await self.person.connect()
        return await client.ask("POST", "/mcp", self.headers, message)


async def reaches(place: Place, level: Level) -> None:
    await until(lambda: place.gateway.multiplexer.admission.shedding.level is level)


async def test_newcomers_are_turned_away_and_who_is_there_is_not(
    readings: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with open_place(tmp_path, monkeypatch, Row(call, 503, "")) as place:
        eve, ada = Person(place, "eve"), Person(place, "ada")
        legacy = await LegacyClient(ada).open()
        assert await stream(ada) is None
        readings.memory = 0.9
        await reaches(place, Level.NO_NEWCOMERS)
        for use in (session, stream):
            refused = await use(eve)
            assert refused is not None
            assert (refused.status, refused.code) == (503, OVERLOADED)
            assert refused.headers["retry-after"] == "10"
            assert "short of memory" in refused.message
        door = await (await eve.connect()).ask(
            "GET", "/sse", {"accept": "text/event-stream", **eve.credentials}
        )
        assert (door.status, door.headers["retry-after"]) == (503, "10")
        assert place.gateway.shed["sessions"] == 1
        assert place.gateway.shed["streams"] == 2
        assert await call(eve) is None
        assert await legacy.ping() == 200
        assert ada.answers == [], "her stream goes on"
        status = place.gateway.control.status()
        assert status["shedding"] == {"level": 1, "reason": "onemcp is short of memory"}
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(picture(status))
        drawn = console.export_text()
        assert "onemcp is short of memory: new sessions and streams are refused" in drawn
        readings.memory = 0.0
        await reaches(place, Level.NORMAL)
        assert await session(eve) is None
        assert await stream(eve) is None


async def test_calls_beyond_a_fair_share_are_refused_in_both_eras_and_others_are_not(
    readings: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with open_place(tmp_path, monkeypatch, Row(call, 503, "")) as place:
        eve, ada = Person(place, "eve"), Person(place, "ada")
        legacy = await LegacyClient(eve).open()
        for _ in range(6):
            assert await call(eve) is None
        readings.lag = 4.5
        await reaches(place, Level.FAIR_SHARES)
        refused = await call(eve)
        assert refused is not None
        assert (refused.status, refused.code) == (503, OVERLOADED)
        assert refused.headers["retry-after"] == "10"
        assert "6 calls under way" in refused.message
        told = await legacy.call()
        assert (told.status, told.code) == (200, OVERLOADED)
        assert told.json["error"]["data"] == {"retryAfter": 10}
        assert await legacy.ping() == 200
        assert await call(ada) is None, "she has less than her share"
        for exchange in place.servers["alpha"].calls:
            exchange.finish(Response(exchange.id, exchange.call.params["name"]))
        await until(lambda: len(eve.answers) == 7 and len(ada.answers) == 1)
        assert {answer.status for answer in ada.answers} == {200}
        assert await call(eve) is None, "those that were under way have been answered"
        readings.lag = 0.0
        await reaches(place, Level.NORMAL)
        for _ in range(5):
            assert await call(eve) is None
