"""The parts of the status page that need no gateway: visits, samples, drawings, forms."""

from __future__ import annotations

import math

import pytest
import trio

from onemcp.auth import owner
from onemcp.backend import BackendDown
from onemcp.monitor import BackendState, Meter, Total
from onemcp.protocol.errors import DeadlineExceeded, RequestCancelled
from onemcp.supervision import Event, What
from onemcp.web.status import CODE_SECONDS, History, Visits, explorer, wording
from onemcp.web.status.drawing import draw
from onemcp.web.status.history import KEPT_INCIDENTS, KEPT_MOMENTS, Moment
from onemcp.web.status.picture import MOST_ROWS, CallRow, call_rows, parked_rows
from onemcp.web.status.visits import MAX_CODES, MAX_VISITS, VISIT_SECONDS
from tests.multiplexer.fakes import World, nothing
from tests.multiplexer.parked import bench, question

OWNER = owner(0)
DEEP = "[" * 100_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_code_is_good_once_and_not_for_long(clock):
    visits = Visits(clock)
    code = visits.new_code(OWNER)
    assert visits.redeem("other") is None
    assert visits.redeem(code) == OWNER
    assert visits.redeem(code) is None
    late = visits.new_code(OWNER)
    clock.now += CODE_SECONDS
    assert visits.redeem(late) is None


def test_codes_and_visits_are_bounded(clock):
    visits = Visits(clock)
    first, *_ = [visits.new_code(OWNER) for _ in range(MAX_CODES + 1)]
    assert visits.redeem(first) is None
    begun = [visits.begin(OWNER) for _ in range(MAX_VISITS + 1)]
    assert len(visits) == MAX_VISITS
    assert not visits.stands(begun[0][0])


def test_a_visit_is_found_by_what_its_browser_holds(clock):
    visits = Visits(clock)
    visit, secret = visits.begin(OWNER)
    other, _ = visits.begin(OWNER)
    assert visits.find(visit.id, secret) is visit
    assert visits.find(other.id, secret) is None
    assert visits.find(visit.id, "") is None
    assert secret not in repr(visit)
    assert visit.token not in repr(visit)
    clock.now += VISIT_SECONDS
    assert visits.find(visit.id, secret) is None
    assert len(visits) == 1


def test_calls_are_added_up_over_methods():
    meter = Meter()
    meter.carried("a", "tools/call", 1.0, None)
    meter.carried("a", "resources/read", 2.0, DeadlineExceeded)
    meter.carried("a", "tools/call", 3.0, RequestCancelled)
    assert meter.totals() == {"a": Total(3, 6.0, 1)}
    assert Total(3, 6.0, 1).since(Total(1, 1.0, 1)) == Total(2, 5.0, 0)
    assert Total(1, 1.0, 0).since(Total(3, 6.0, 1)) == Total(1, 1.0, 0)


def test_incidents_are_kept_the_latest_first_and_not_for_ever(clock):
    history = History(None, Meter(), clock)
    crash = Event(
        supervisor="onemcp/gateway", child="keys", what=What.RESTARTING, at=1.0, reason=OSError("x")
    )
    history(crash)
    history(Event(supervisor="onemcp", child="keys", what=What.STARTED, at=1.0))
    history(BackendDown("a", "it exited"))
    down, restarting = history.incidents
    assert (restarting.event, down.event) == ("child_restarting", "backend_down")
    assert wording.who(restarting.fields) == "onemcp/gateway / keys"
    assert "OSError: x" in wording.rest(restarting.fields)
    for _ in range(2 * KEPT_INCIDENTS):
        history(crash)
    assert len(history.incidents) == KEPT_INCIDENTS


def moments(
    *samples: tuple[int, float, int], state: BackendState = BackendState.UP
) -> list[Moment]:
    return [Moment(state, Total(*sample)) for sample in samples]


def test_a_drawing_has_gaps_where_nothing_was_called():
    drawing = draw(moments((1, 0.5, 0), (0, 0.0, 0), (2, 2.0, 1)))
    assert drawing.latency.count("M") == 2
    assert drawing.errors.count("M") == 1
    assert (drawing.now, drawing.slowest) == (1.0, 1.0)
    assert (drawing.calls, drawing.failures) == (3, 1)
    assert drawing.runs == (("up", KEPT_MOMENTS - 3, 3),)


def test_a_drawing_of_nothing_is_empty():
    drawing = draw([])
    assert (drawing.latency, drawing.errors, drawing.runs) == ("", "", ())
    assert drawing.now is None
    assert "nan" not in draw(moments((1, 0.0, 0))).latency


def test_a_form_has_what_its_schema_says():
    schema = {
        "properties": {
            "text": {"type": "string", "default": "x", "description": "Some."},
            "number": {"type": "integer"},
            "kind": {"enum": ["a", 2]},
            "list": {"type": "array"},
            "odd": True,
        },
        "required": ["number"],
    }
    fields = explorer.fields_of(schema, {})
    assert [field.kind for field in fields] == ["text", "number", "choice", "json", "json"]
    assert [field.required for field in fields] == [False, True, False, False, False]
    assert (fields[0].value, fields[0].about) == ("x", "Some.")
    assert fields[2].choices == ('"a"', "2")
    filled = {"argument:text": "5", "argument:number": "5", "argument:kind": '"a"'}
    read = explorer.arguments_of(schema, filled | {"argument:list": " ", "argument:more": "1"})
    assert read == {"text": "5", "number": 5, "kind": "a"}


@pytest.mark.parametrize(
    "schema", [None, [], {"properties": []}, {"properties": {str(n): {} for n in range(100)}}]
)
def test_a_schema_that_is_none_gets_one_field_for_everything(schema):
    assert explorer.fields_of(schema, {}) is None
    assert explorer.arguments_of(schema, {"arguments": '{"a": 1}'}) == {"a": 1}
    assert explorer.arguments_of(schema, {"arguments": ""}) == {}


@pytest.mark.parametrize("text", ["{", "[]", "1", DEEP])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(explorer.BadArguments):
        explorer.arguments_of(None, {"arguments": text})


def test_a_result_is_bounded_whatever_it_is():
    long = {"type": "text", "text": "x" * 10 * explorer.LONGEST_TEXT}
    image = {"type": "image", "mimeType": "image/png", "data": "x" * 100}
    link = {"type": "resource", "resource": {"uri": "u", "text": "inner"}}
    contents = [long, image, link, 5, {"type": "text", "text": 5}, *[image] * 100]
    answer = explorer.answer_of({"content": contents, "structuredContent": [math.nan]}, 1.0)
    assert len(answer.texts) == explorer.MOST_CONTENTS + 1
    assert len(answer.texts[0]) < 2 * explorer.LONGEST_TEXT
    assert answer.texts[1] == "[image: image/png, 100 characters]"
    assert answer.texts[2] == "inner"
    assert "left out" in answer.texts[-1]
    assert not answer.failed
    assert explorer.answer_of({"content": "x", "isError": True}, 1.0).texts == ()


async def test_calls_in_flight_are_shown_with_whose_they_are_and_never_with_what(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with bench(World(nursery)) as b:
            b.server.handlers["tools/call"] = nothing
            multiplexer = b.client.view.multiplexer
            begun = [await b.client.begin({"name": "alpha__t", "arguments": {"key": "hunter2"}})]
            await trio.sleep(30)
            begun += [await b.client.begin() for _ in range(MOST_ROWS)]
            rows, count = call_rows(multiplexer)
            assert (len(rows), count) == (MOST_ROWS, MOST_ROWS + 1)
            assert rows[0] == CallRow("alpha", "tools/call t", "ada", pytest.approx(30))
            assert "hunter2" not in repr(rows)
            await b.client.call_asked(question("q"))
            assert call_rows(multiplexer)[1] == count  # who waits for its client is parked
            for reply in begun:
                reply.close()
        nursery.cancel_scope.cancel()


async def test_parked_calls_are_shown_with_whom_they_wait_for(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with bench(World(nursery)) as b:
            await b.client.call_asked(question("q"))
            (row,) = parked_rows(b.parking)
            assert (row.method, row.backend, row.questions) == ("tools/call", "alpha", 1)
            await trio.sleep(30)
            (row,) = parked_rows(b.parking)
            assert row.seconds == pytest.approx(30, abs=1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"backend": "a", "retry_in": 0.5, "reason": "it exited"},
            "retry in: 500 ms; reason: it exited",
        ),
        ({"items": {"tools": 5, "prompts": 1}}, "items: 5 tools, 1 prompts"),
        (
            {"problems": [{"path": "a.b", "message": "is odd"}, {"message": "x"}]},
            "problems: a.b is odd, x",
        ),
        ({"by": "ada", "action": "stop", "outcome": "up\n\u202e"}, "outcome: up\\n\\u202e"),
    ],
)
def test_what_has_happened_is_said_in_one_line(fields, said):
    assert wording.rest(fields) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "none"), (0.0, "0 ms"), (0.01234, "12.3 ms"), (1.5, "1.5 s"), (120.0, "2 min")],
)
def test_durations_are_said_in_a_few_letters(seconds, said):
    assert wording.duration(seconds) == said


def test_people_are_told_by_name():
    elsewhere = '["https://id.example.com", "editor", "ada"]'
    assert wording.whose("ada") == "ada"
    assert wording.whose(owner(1000).identity) == "uid 1000 (onemcp:socket, onemcp)"
    assert wording.whose(elsewhere) == "ada (https://id.example.com, editor)"
    assert wording.whose("[1]\n") == "[1]\\n"
