from __future__ import annotations

import math

import pytest
import trio

from onemcp.backend.handshake import answer_of
from onemcp.backend.http import _courier
from onemcp.config import BackendLimits
from onemcp.protocol.errors import BackendLost, InvalidParams
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Response
from tests.backend.http.servers import (
    Legacy,
    Visit,
    caller,
    connected,
    plain,
)

SAMPLER = caller(capabilities=raw({"sampling": {}}))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are resumed without waiting, unless the server asks for it."""
    monkeypatch.setattr(_courier, "RETRY", 0.01)


# --- the standalone stream ---------------------------------------------------------------------


async def test_changes_come_on_the_standalone_stream_and_on_any_other() -> None:
    async def listen(visit: Visit) -> None:
        await visit.stream()
        await visit.note("notifications/resources/updated", uri="x:1")
        await visit.gone()

    async def call(visit: Visit) -> None:
        await visit.stream()
        await visit.note("notifications/tools/list_changed")
        await visit.event(visit.response({}))
        await visit.end()

    async with connected(Legacy(**{"GET": listen, "tools/call": call})) as live:
        await live.noted.wait()
        await live.result("tools/call", name="t")
        methods = [note.method for note in live.notes]
    assert methods == ["notifications/resources/updated", "notifications/tools/list_changed"]


async def test_the_standalone_stream_is_resumed_after_its_last_event() -> None:
    async def listen(visit: Visit) -> None:
        turn = len(server.of("GET"))
        if turn == 3:
            await visit.answer(503)
            return
        await visit.stream()
        note = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"turn": turn}}
        await visit.event(note, event_id=f"e{turn}", retry=0)
        await (visit.gone() if turn > 3 else visit.end())

    server = Legacy(GET=listen)
    async with connected(server) as live:
        await server.seen("GET", 4)
        while len(live.notes) < 3:
            live.noted = trio.Event()
            await live.noted.wait()
    resumed = [visit.headers.get("last-event-id") for visit in server.of("GET")]
    assert resumed == [None, "e1", "e2", "e2"]
    assert [plain(note.params)["turn"] for note in live.notes] == [1, 2, 4]


async def test_an_answer_may_come_on_the_standalone_stream() -> None:
    async def listen(visit: Visit) -> None:
        await visit.stream()
        call = await server.seen("tools/call")
        await visit.event(call.response({"late": True}))
        await visit.gone()

    server = Legacy(**{"GET": listen, "tools/call": Visit.gone})
    async with connected(server) as live:
        assert await live.result("tools/call", name="t") == {"late": True}


@pytest.mark.parametrize("status", [400, 404, 405, 401])
async def test_a_backend_without_a_standalone_stream_is_not_asked_again(status: int) -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(status)

    server = Legacy(GET=refuse)
    async with connected(server) as live:
        await server.seen("GET")
        await live.result("tools/list")
        assert live.lost is None
    assert len(server.of("GET")) == 1


async def test_a_standalone_stream_of_nonsense_is_given_up() -> None:
    async def babble(visit: Visit) -> None:
        await visit.stream()
        for _ in range(_courier.MAX_NONSENSE + 1):
            await visit.event(b"{}")
        await visit.gone()

    server = Legacy(GET=babble)
    async with connected(server) as live:
        await server.seen("GET")
        await live.result("tools/list")
    assert len(server.of("GET")) == 1


async def test_a_standalone_stream_that_the_session_has_left_ends_the_connection() -> None:
    async def listen(visit: Visit) -> None:
        if len(server.of("GET")) > 1:
            await visit.answer(404)
            return
        await visit.stream()
        await visit.end()

    server = Legacy(GET=listen)
    async with connected(server) as live:
        await live.over.wait()
        assert live.lost is not None
        assert "session" in live.lost.reason


# --- resuming ----------------------------------------------------------------------------------


async def _prime(visit: Visit) -> None:
    """Open the stream of a call and close it before the answer."""
    await visit.stream()
    await visit.event(b"", event_id="0", retry=10)
    await visit.end()


async def test_a_stream_closed_before_the_answer_is_resumed() -> None:
    async def listen(visit: Visit) -> None:
        match visit.headers.get("last-event-id"):
            case None:
                await visit.answer(405)
            case "0":
                await visit.stream()
                note = {"jsonrpc": "2.0", "method": "notifications/x"}
                await visit.event(note, event_id="1")
                await visit.end()
            case "1":
                await visit.stream()
                await visit.event(server.of("tools/call")[0].response({"ok": True}))
                await visit.end()

    server = Legacy(**{"tools/call": _prime, "GET": listen})
    async with connected(server) as live:
        exchange = live.open("tools/call", name="t")
        note = await exchange.receive()
        assert isinstance(note, Notification)
        answer = await exchange.receive()
        assert isinstance(answer, Response)
        assert plain(answer.result) == {"ok": True}
        assert live.connection.inbound.in_flight == 0


async def test_a_stream_is_resumed_no_sooner_than_asked() -> None:
    waited = []

    async def prime(visit: Visit) -> None:
        await visit.stream()
        await visit.event(b"", event_id="0", retry=150)
        waited.append(trio.current_time())
        await visit.end()

    async def listen(visit: Visit) -> None:
        if "last-event-id" not in visit.headers:
            await visit.answer(405)
            return
        waited.append(trio.current_time())
        await visit.stream()
        await visit.event(server.of("tools/call")[0].response({}))
        await visit.end()

    server = Legacy(**{"tools/call": prime, "GET": listen})
    async with connected(server) as live:
        await live.result("tools/call", name="t")
    assert waited[1] - waited[0] >= 0.15


async def test_a_broken_stream_is_resumed() -> None:
    async def cut(visit: Visit) -> None:
        await visit.stream()
        await visit.event(b"", event_id="0", retry=0)
        raise ConnectionError

    async def listen(visit: Visit) -> None:
        if "last-event-id" not in visit.headers:
            await visit.answer(405)
        elif len(server.of("GET")) == 2:
            raise ConnectionError
        else:
            await visit.stream()
            await visit.event(server.of("tools/call")[0].response({}))
            await visit.end()

    server = Legacy(**{"tools/call": cut, "GET": listen})
    async with connected(server) as live:
        await server.seen("GET")
        assert await live.result("tools/call", name="t") == {}


async def test_resuming_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_courier, "MAX_RESUMES", 2)

    async def listen(visit: Visit) -> None:
        if "last-event-id" not in visit.headers:
            await visit.answer(405)
        else:
            await visit.stream()
            await visit.end()

    server = Legacy(**{"tools/call": _prime, "GET": listen})
    async with connected(server) as live:
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendLost.code
        assert live.lost is None
    assert len(server.of("GET")) == 3


async def test_a_stream_that_cannot_be_resumed_fails_the_call() -> None:
    server = Legacy(**{"tools/call": _prime})
    async with connected(server) as live:
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendLost.code
        assert "resumed" in error["message"]
        assert live.lost is None


async def test_a_session_that_ends_while_a_call_waits_ends_the_connection() -> None:
    async def listen(visit: Visit) -> None:
        await visit.answer(404 if "last-event-id" in visit.headers else 405)

    async with connected(Legacy(**{"tools/call": _prime, "GET": listen})) as live:
        assert (await live.error("tools/call", name="t"))["code"] == BackendLost.code
        await live.over.wait()
        assert live.lost is not None


async def test_batches_are_read_where_the_revision_has_them() -> None:
    async def batch(visit: Visit) -> None:
        note = {"jsonrpc": "2.0", "method": "notifications/x"}
        await visit.json([note, visit.response({"ok": True})])

    for revision, expected in (("2025-03-26", Response), ("2025-06-18", Failure)):
        async with connected(Legacy(revision, **{"tools/call": batch})) as live:
            assert isinstance(await live.ask("tools/call", name="t"), expected)


async def test_event_ids_that_are_too_long_are_not_resumed_from() -> None:
    async def prime(visit: Visit) -> None:
        await visit.stream()
        await visit.event(b"", event_id="x" * (_courier.MAX_EVENT_ID + 1))
        await visit.end()

    async with connected(Legacy(**{"tools/call": prime})) as live:
        assert "ended" in (await live.error("tools/call", name="t"))["message"]


def test_waits_grow_from_failure_to_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_courier, "RETRY", 1.0)
    unasked, asked = _courier._Cursor(), _courier._Cursor(retry=20.0)
    assert [unasked.wait(failures) for failures in (0, 1, 2, 3, 9, 999)] == [1, 2, 4, 8, 60, 60]
    assert [asked.wait(failures) for failures in (0, 1, 9)] == [20, 20, 60]
    assert _courier._Cursor(retry=0.0).wait(0) == _courier.RETRY_MINIMUM
    assert math.isfinite(unasked.wait(10**6))


async def test_malformed_notifications_are_passed_over() -> None:
    async def call(visit: Visit) -> None:
        await visit.stream()
        await visit.note("notifications/x", _meta=[])
        await visit.note("notifications/progress", progressToken={})
        await visit.event(visit.response({}))
        await visit.end()

    async with connected(Legacy(**{"tools/call": call})) as live:
        exchange = live.open("tools/call", name="t")
        assert isinstance(await answer_of(exchange), Response)
        with pytest.raises(InvalidParams):
            live.open("tools/call", name="t", _meta=1)


async def test_the_limit_counts_every_request() -> None:
    async with connected(Legacy(), limits=BackendLimits(in_flight=1)) as live:
        for _ in range(3):
            await live.result("tools/list")
