from __future__ import annotations

import math

import pytest
import trio

from onemcp.backend.handshake import EraMemory, answer_of
from onemcp.backend.http import _courier
from onemcp.config import BackendLimits
from onemcp.protocol.errors import BackendLost, BackendUnavailable, InvalidParams
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import (
    Legacy,
    Visit,
    caller,
    connected,
    connecting,
    failure_of,
    plain,
    serving,
)

SAMPLER = caller(capabilities=raw({"sampling": {}}))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are resumed without waiting, unless the server asks for it."""
    monkeypatch.setattr(_courier, "RETRY", 0.01)


async def test_a_legacy_backend_is_initialized_and_keeps_its_session() -> None:
    server = Legacy()
    async with connected(server) as live:
        assert live.connection.server is not None
        assert live.connection.server.revision == "2025-11-25"
        assert live.memory.era is Era.LEGACY
        await live.result("tools/call", name="t")
    probe, initialize, initialized, *others = server.visits
    assert probe.what == "server/discover"
    assert initialize.what == "initialize"
    assert "mcp-session-id" not in initialize.headers
    assert "mcp-protocol-version" not in initialize.headers
    assert initialized.what == "notifications/initialized"
    for visit in (initialized, *others):
        assert visit.headers["mcp-session-id"] == "s-1"
        assert visit.headers["mcp-protocol-version"] == "2025-11-25"
    call = server.of("tools/call")[0]
    assert not {"mcp-method", "mcp-name"} & call.headers.keys()
    assert "_meta" not in call.message["params"]
    assert server.of("GET")[0].headers["accept"] == "text/event-stream"


async def test_the_session_is_ended_on_the_way_out() -> None:
    server = Legacy()
    async with connected(server) as live:
        await server.seen("GET")
    assert server.visits[-1].what == "DELETE"
    assert server.visits[-1].headers["mcp-session-id"] == "s-1"
    assert str(live.lost) == "None"


async def test_a_backend_that_does_not_end_its_session_is_not_waited_for() -> None:
    async def hang(visit: Visit) -> None:
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with connected(Legacy(DELETE=hang)):
            pass


async def test_without_a_session_there_is_nothing_to_end() -> None:
    server = Legacy(session=None)
    async with connected(server) as live:
        await live.result("tools/list")
    assert server.of("DELETE") == []
    assert "mcp-session-id" not in server.of("tools/list")[0].headers


async def test_early_revisions_have_no_version_header() -> None:
    server = Legacy("2025-03-26")
    async with connected(server) as live:
        await live.result("tools/list")
    assert all("mcp-protocol-version" not in visit.headers for visit in server.visits[1:])


async def test_a_remembered_era_is_not_probed_for() -> None:
    server = Legacy()
    async with connected(server, memory=EraMemory(Era.LEGACY)):
        pass
    assert server.visits[0].what == "initialize"


async def test_a_backend_that_is_silent_when_probed_is_initialized() -> None:
    async def silent(visit: Visit) -> None:
        await visit.gone()

    server = Legacy(**{"server/discover": silent})
    async with connected(server, probe=0.05) as live:
        assert live.memory.era is Era.LEGACY
        assert "server/discover" in str(live.connection.last_violation)  # type: ignore[attr-defined]
    assert server.of("notifications/cancelled") == []


async def test_a_backend_that_refuses_notifications_works_all_the_same() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(400)

    async with connected(Legacy(**{"notifications/initialized": refuse})) as live:
        assert await live.result("tools/list") == {"did": "tools/list"}


async def test_the_handshake_ends_before_any_request() -> None:
    release = trio.Event()

    async def slow(visit: Visit) -> None:
        await release.wait()
        await visit.answer(202)

    server = Legacy(**{"notifications/initialized": slow})
    async with serving(server) as url, trio.open_nursery() as nursery:
        connection = None

        async def connect() -> None:
            nonlocal connection
            async with connecting(url) as live:
                connection = live.connection
                await live.result("tools/list")

        nursery.start_soon(connect)
        await server.seen("notifications/initialized")
        assert connection is None
        release.set()


async def test_a_malformed_session_id_is_refused() -> None:
    async with serving(Legacy(session="two words")) as url, connecting(url) as live:
        assert live.lost is not None
        assert "session id" in live.lost.reason


async def test_closing_an_exchange_cancels_it_at_the_backend() -> None:
    gone = trio.Event()

    async def hang(visit: Visit) -> None:
        await visit.stream()
        await visit.gone()
        gone.set()

    server = Legacy(**{"tools/call": hang})
    async with connected(server) as live:
        exchange = live.open("tools/call", name="t")
        call = await server.seen("tools/call")
        exchange.close()
        cancelled = await server.seen("notifications/cancelled")
        await gone.wait()
    assert cancelled.message["params"] == {"requestId": call.message["id"]}
    assert cancelled.headers["mcp-session-id"] == "s-1"


async def test_a_cancellation_that_cannot_be_sent_closes_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onemcp.backend.http._streamable.MAX_BACKGROUND", 0)
    gone = trio.Event()

    async def hang(visit: Visit) -> None:
        await visit.stream()
        await visit.gone()
        gone.set()

    server = Legacy(**{"tools/call": hang})
    async with connected(server) as live:
        exchange = live.open("tools/call", name="t")
        await server.seen("tools/call")
        exchange.close()
        await gone.wait()
    assert server.of("notifications/cancelled") == []


async def test_notifications_are_sent() -> None:
    server = Legacy()
    async with connected(server) as live:
        live.connection.notify("notifications/roots/list_changed", {})
        await server.seen("notifications/roots/list_changed")


async def test_a_backend_that_takes_no_notification_is_remembered_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onemcp.backend.http._streamable.TELL_TIMEOUT", 0.05)
    gone = trio.Event()

    async def hang(visit: Visit) -> None:
        await visit.gone()
        gone.set()

    async with connected(Legacy(**{"notifications/x": hang})) as live:
        live.connection.notify("notifications/x", {})
        await gone.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert "take" in str(live.connection.last_violation)  # type: ignore[attr-defined]


# --- questions ---------------------------------------------------------------------------------


async def test_a_question_on_the_stream_of_a_call_belongs_to_the_call() -> None:
    answered = trio.Event()

    async def ask(visit: Visit) -> None:
        await visit.stream()
        await visit.event({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage"})
        await answered.wait()
        await visit.event(visit.response({}))
        await visit.end()

    async def take(visit: Visit) -> None:
        await visit.answer(202)
        answered.set()

    server = Legacy(**{"tools/call": ask, "answer": take})
    async with connected(server) as live:
        live.open("tools/list", caller("b", capabilities=raw({"sampling": {}})))
        exchange = live.open("tools/call", SAMPLER, name="t")
        question = await exchange.receive()
        assert isinstance(question, Request)
        exchange.reply(Response("other", raw({})))  # nobody asked this
        exchange.reply(Response(question.id, raw({"said": "yes"})))
        exchange.reply(Response(question.id, raw({"said": "twice"})))
        assert isinstance(await exchange.receive(), Response)
    answers = [visit.message for visit in server.of("answer")]
    assert answers == [{"jsonrpc": "2.0", "id": "q", "result": {"said": "yes"}}]


async def test_a_client_is_not_asked_what_it_cannot_do() -> None:
    async def ask(visit: Visit) -> None:
        await visit.stream()
        await visit.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"})
        await visit.event({"jsonrpc": "2.0", "id": 2, "method": "roots/unheard-of"})
        await visit.event({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        await server.seen("answer", 3)
        await visit.event(visit.response({}))
        await visit.end()

    server = Legacy(**{"tools/call": ask})
    async with connected(server) as live:
        assert await live.result("tools/call", name="t") == {}
    answers = {visit.message["id"]: visit.message for visit in server.of("answer")}
    assert answers[1]["error"]["code"] == -32600
    assert answers[2]["error"]["code"] == -32601
    assert answers[3]["result"] == {}


async def test_a_question_on_the_standalone_stream_goes_to_the_only_client() -> None:
    asked = trio.Event()

    async def listen(visit: Visit) -> None:
        await visit.stream()
        await server.seen("tools/call")
        await visit.event({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage"})
        await visit.gone()

    async def wait(visit: Visit) -> None:
        await asked.wait()
        await visit.result({})

    server = Legacy(**{"GET": listen, "tools/call": wait})
    async with connected(server) as live:
        exchange = live.open("tools/call", SAMPLER, name="t")
        question = await exchange.receive()
        assert isinstance(question, Request)
        exchange.reply(Failure(question.id, raw({"code": -1, "message": "no"})))
        assert (await server.seen("answer")).message["error"]["code"] == -1
        asked.set()
        assert isinstance(await exchange.receive(), Response)


async def test_an_answer_that_cannot_be_delivered_fails_the_call() -> None:
    async def ask(visit: Visit) -> None:
        await visit.stream()
        await visit.event({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage"})
        await visit.gone()

    async def refuse(visit: Visit) -> None:
        await visit.answer(500)

    async with connected(Legacy(**{"tools/call": ask, "answer": refuse})) as live:
        exchange = live.open("tools/call", SAMPLER, name="t")
        question = await exchange.receive()
        assert isinstance(question, Request)
        exchange.reply(Response(question.id, raw({})))
        assert failure_of(await answer_of(exchange))["code"] == BackendLost.code


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


# --- the end of a session ----------------------------------------------------------------------


async def test_a_lost_session_ends_the_connection() -> None:
    async def lost(visit: Visit) -> None:
        await visit.error(-32001, 404, id=None)

    server = Legacy(**{"tools/call": lost, "prompts/get": Visit.gone})
    async with connected(server) as live:
        other = live.open("prompts/get", name="p")
        await server.seen("prompts/get")
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendUnavailable.code
        assert "not processed" in error["message"]
        await live.over.wait()
        assert live.lost is not None
        assert "session" in live.lost.reason
        assert failure_of(await answer_of(other))["code"] == BackendLost.code
        with pytest.raises(BackendUnavailable):
            live.open("tools/list")
    assert server.of("DELETE") == []
    assert live.memory.era is Era.LEGACY


async def test_a_session_lost_by_a_server_that_answers_400_is_noticed() -> None:
    server = Legacy()
    async with connected(server) as live:
        server.session = "another"  # it was restarted
        error = await live.error("tools/call", name="t")
        assert error["code"] == -32000
        await live.over.wait()
        assert live.lost is not None


async def test_a_missing_method_is_not_taken_for_a_lost_session() -> None:
    async def unknown(visit: Visit) -> None:
        await visit.error(-32601, 404)

    async with connected(Legacy(**{"tools/call": unknown})) as live:
        assert (await live.error("tools/call", name="t"))["code"] == -32601
        await live.result("tools/list")


async def test_a_legacy_backend_that_becomes_a_modern_one_is_probed_again() -> None:
    async def modern(visit: Visit) -> None:
        await visit.error(-32020, 400)

    async with connected(Legacy(**{"tools/call": modern})) as live:
        assert (await live.error("tools/call", name="t"))["code"] == -32020
        await live.over.wait()
        assert live.memory.era is None


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
        assert live.connection.in_flight == 0


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
