from __future__ import annotations

import pytest
import trio

from onemcp.backend.handshake import EraMemory, answer_of
from onemcp.backend.http import _courier
from onemcp.protocol.errors import BackendLost, BackendUnavailable
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Request, Response
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import (
    Legacy,
    Visit,
    caller,
    connected,
    connecting,
    failure_of,
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


@pytest.mark.requirement(
    "basic/versioning#backward-compatibility-with-initialization-based-versions-1"
)
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
        assert "server/discover" in str(live.connection.inbound.last_violation)
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
        assert "take" in str(live.connection.inbound.last_violation)


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


async def test_a_client_is_not_asked_what_no_client_can_answer() -> None:
    async def ask(visit: Visit) -> None:
        await visit.stream()
        await visit.event({"jsonrpc": "2.0", "id": 1, "method": "roots/unheard-of"})
        await visit.event({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        await server.seen("answer", 2)
        await visit.event(visit.response({}))
        await visit.end()

    server = Legacy(**{"tools/call": ask})
    async with connected(server) as live:
        assert await live.result("tools/call", name="t") == {}
    answers = {visit.message["id"]: visit.message for visit in server.of("answer")}
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["result"] == {}


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
