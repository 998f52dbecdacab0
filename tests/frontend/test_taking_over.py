"""A session goes on after a restart, and elsewhere; what it has lost, its client is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from onemcp.auth import KeyStore, SigningKey
from onemcp.frontend import Deadlines, Passports, SessionEnded, SessionTakenOver, SessionUnknown
from onemcp.frontend.session import registry
from onemcp.frontend.session.passport import MAX_ID
from onemcp.frontend.session.streams import LOST, MAX_NAMED
from onemcp.protocol.errors import BackendLost
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.revisions import LATEST_LEGACY
from onemcp.state import Keyring, Ledger, ledger_in_memory
from tests.frontend.site import (
    HEADERS,
    SessionClient,
    Site,
    call,
    notification,
    open_site,
    request,
    until,
    wait_for,
)
from tests.frontend.test_doors import bearer, gate_of
from tests.multiplexer.fakes import Server, nothing, resource, result, tool

CHANGES = {f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")}
UPDATED = "notifications/resources/updated"


@attrs.define
class Place:
    """What instances share: a sealing key, a ledger, and the time."""

    keyring: Keyring = attrs.field(factory=Keyring.ephemeral)
    ledger: Ledger = attrs.field(factory=ledger_in_memory)
    now: float = 1_000_000.0

    def wall_clock(self) -> float:
        return self.now

    @contextlib.asynccontextmanager
    async def instance(self, server: Server | None = None, **options: Any) -> AsyncIterator[Site]:
        server = server or Server(tools=[tool("t")], resources=[resource("x://r")])
        passports = Passports(self.keyring, self.wall_clock)
        async with open_site(server, passports=passports, ledger=self.ledger, **options) as site:
            yield site


@pytest.fixture
def place() -> Place:
    return Place()


def at(site: Site, session: SessionClient) -> SessionClient:
    """Return the same client, which has been led to another instance."""
    return attrs.evolve(session, site=site)


def of(site: Site, kind: type) -> list[Any]:
    return [event for event in site.events if isinstance(event, kind)]


async def is_gone(session: SessionClient) -> bool:
    answers = [
        await session.post(request("ping")),
        await session.post(notification("notifications/x")),
        await (await session.get()).answer(),
        await session.delete(),
    ]
    assert {answer.status for answer in answers} in ({404}, {200, 202, 204})
    return answers[0].status == 404


async def test_a_session_goes_on_after_a_restart_without_a_new_handshake(place: Place):
    capabilities = {"elicitation": {}, "roots": {"listChanged": True}}
    async with place.instance() as site:
        session = await site.open("2025-06-18", capabilities)
        assert (await session.post(request("ping"))).status == 200
    async with place.instance() as site:
        site.server.handlers["tools/call"] = nothing
        back = at(site, session)
        client = await back.begin(call())
        await wait_for(site.server)
        caller = site.server.last.call.caller
        assert json.loads(bytes(caller.capabilities)) == capabilities
        assert json.loads(bytes(caller.client_info)) == {"name": "test", "version": "1"}
        assert (caller.revision, caller.principal) == ("2025-06-18", "anonymous")
        result({"said": "x"})(site.server.last)
        assert (await client.answer()).json["result"] == {"said": "x"}
        assert len(site.sessions) == 1
        assert of(site, SessionTakenOver) == [SessionTakenOver("anonymous", "2025-06-18")]


async def test_instances_with_the_same_key_take_over_each_others_sessions(place: Place):
    async with place.instance() as one, place.instance() as other:
        of_one, of_other = await one.open(), await other.open()
        for session in (at(other, of_one), at(one, of_other), of_one, of_other):
            assert (await session.post(request("ping"))).status == 200
        assert len(one.sessions) == len(other.sessions) == 2


async def test_a_session_is_taken_over_once_however_many_requests_come_for_it(place: Place):
    async with place.instance() as site:
        session = await site.open()
    async with place.instance() as site:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(at(site, session).post, request("ping", None, number))
        assert len(site.sessions) == len(of(site, SessionTakenOver)) == 1


async def test_a_session_ends_for_good_with_delete(place: Place):
    async with place.instance() as site:
        session = await site.open()
        assert (await session.delete()).status == 204
        assert len(site.sessions) == 0
        assert await is_gone(session)
    async with place.instance() as site:
        assert await is_gone(at(site, session))
        assert len(site.sessions) == 0
        assert {event.why for event in of(site, SessionUnknown)} == {"it has ended"}


async def test_a_session_that_was_taken_over_ends_for_good_with_delete_too(place: Place):
    async with place.instance() as one, place.instance() as other:
        session = await one.open()
        assert (await at(other, session).delete()).status == 204
        assert await is_gone(at(other, session))
    async with place.instance() as site:
        assert await is_gone(at(site, session))


async def test_a_session_that_was_idle_for_too_long_does_not_come_back(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(deadlines=Deadlines(100.0, 1000.0)) as site:
        session = await site.open()
        await trio.sleep(101)
        assert len(site.sessions) == 0
        assert await is_gone(session)
    async with place.instance() as site:
        assert await is_gone(at(site, session))


async def test_a_session_lasts_from_its_opening_to_its_end_wherever_that_is(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance() as site:
        session = await site.open("2025-06-18")
        await trio.sleep(10)
        assert not of(site, SessionEnded)
    assert not of(site, SessionEnded)  # it goes on, though not here
    place.now += 3600
    async with place.instance() as site:
        await at(site, session).post(request("ping"))
        await trio.sleep(5)
        await at(site, session).delete()
        [ended] = of(site, SessionEnded)
    assert (ended.principal, ended.revision, ended.failure) == ("anonymous", "2025-06-18", None)
    assert 3605 <= ended.seconds < 3606
    assert ended.way == {"network.transport": "tcp", "network.protocol.name": "http"}


async def test_a_session_that_was_idle_for_too_long_has_ended_too(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(deadlines=Deadlines(100.0, 1000.0)) as site:
        await site.open()
        await trio.sleep(102)
        [ended] = of(site, SessionEnded)
    assert 100 <= ended.seconds < 102


async def test_a_session_that_made_room_does_not_come_back(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(sessions=1) as site:
        first = await site.open()
        await trio.sleep(registry.ABANDONED + 1)
        await site.open()
        await until(lambda: len(site.sessions) == 1)
        assert await is_gone(first)


async def test_a_session_that_was_put_aside_goes_on_when_its_client_comes_back(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance() as site:
        left, used = await site.open(), await site.open()
        await used.listen()
        await trio.sleep(registry.ABANDONED + 1)
        site.sessions.put_aside()
        await until(lambda: len(site.sessions) == 1)
        assert (await left.post(request("ping"))).status == 200
        assert (len(site.sessions), len(of(site, SessionTakenOver))) == (2, 1)
        assert (await left.delete()).status == 204
        assert await is_gone(left)


async def test_a_session_expires_at_the_time_that_was_set_when_it_was_opened(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(deadlines=Deadlines(1e6, 1000.0)) as site:
        session = await site.open()
    place.now += 900
    async with place.instance(deadlines=Deadlines(1e6, 1e6)) as site:
        back = at(site, session)
        stream = await back.listen()
        await trio.sleep(99)
        assert len(site.sessions) == 1
        await trio.sleep(2)
        assert len(site.sessions) == 0
        while await stream.event():
            pass
    place.now += 101
    async with place.instance() as site:
        assert await is_gone(at(site, session))


async def test_idle_time_begins_anew_where_a_session_is_taken_over(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(deadlines=Deadlines(100.0, 1000.0)) as site:
        session = await site.open()
        await trio.sleep(90)
    async with place.instance(deadlines=Deadlines(100.0, 1000.0)) as site:
        back = at(site, session)
        assert (await back.post(request("ping"))).status == 200
        await trio.sleep(90)
        assert len(site.sessions) == 1
        await trio.sleep(11)
        assert len(site.sessions) == 0


async def test_nobody_else_can_use_a_session_and_nothing_tells_that_there_is_one(place: Place):
    keys = KeyStore([SigningKey.generate(1)])
    ada, eve = bearer(keys, "ada"), bearer(keys, "eve")
    async with place.instance(gate=gate_of(keys)) as site:
        session = await site.open(headers=ada)
    async with place.instance(gate=gate_of(keys)) as site:
        of_eve = attrs.evolve(session, site=site, more=eve)
        foreign = await of_eve.post(request("ping"))
        forged = await attrs.evolve(of_eve, id=session.id[:-1] + "!").post(request("ping"))
        unheard = await attrs.evolve(of_eve, id="x").post(request("ping"))
        assert foreign.status == 404
        assert foreign.body == forged.body == unheard.body
        assert len(site.sessions) == 0
        assert (await attrs.evolve(session, site=site).post(request("ping"))).status == 200
        # Held here, it is as unknown to her.
        assert (await of_eve.post(request("ping"))).body == foreign.body
        assert (await of_eve.delete()).status == 404


async def test_a_session_stays_at_its_endpoint(place: Place):
    async with place.instance() as site:
        session = await site.open()
        of_alpha = await site.open(path="/mcp/alpha")
    async with place.instance() as site:
        ping = request("ping")
        for path, of_path in (("/mcp", of_alpha), ("/mcp/alpha", session)):
            answer = await site.ask("POST", path, at(site, of_path).headers, ping)
            assert answer.status == 404
        assert (await site.ask("POST", "/mcp/alpha", of_alpha.headers, ping)).status == 200


async def test_forged_ids_create_nothing_and_the_log_has_nothing_of_them(place: Place):
    async with place.instance() as site:
        session = await site.open()
        other = Place()
        async with other.instance() as elsewhere:
            foreign = await elsewhere.open()
        forged = ["x", "0" * 60_000, session.id + "A", session.id[:-10], foreign.id, "onemcp1."]
        for session_id in forged:
            answer = await attrs.evolve(session, id=session_id).post(request("ping"))
            assert answer.status == 404
        assert len(site.sessions) == 1
        unknown = of(site, SessionUnknown)
        assert [event.why for event in unknown] == ["it does not verify"] * len(forged)
        assert "onemcp1." not in repr(unknown)


async def test_sessions_that_are_taken_over_count_as_any_other(place: Place):
    async with place.instance() as site:
        sessions = [await site.open() for _ in range(3)]
    async with place.instance(sessions=2) as site:
        answers = [await at(site, each).post(request("ping")) for each in sessions]
        assert [answer.status for answer in answers] == [200, 200, 503]
        assert answers[2].code == -33004
        assert answers[2].headers["retry-after"] == "5"
        assert (await at(site, sessions[0]).delete()).status == 204
        assert (await at(site, sessions[2]).post(request("ping"))).status == 200


async def test_a_client_that_declares_too_much_for_an_id_is_told_so(place: Place):
    async with place.instance() as site:
        params = {
            "protocolVersion": LATEST_LEGACY,
            "capabilities": {"experimental": {"x": "y" * MAX_ID}},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = await site.post(request("initialize", params))
        assert (answer.status, answer.code) == (400, -32602)
        assert "declare less" in answer.message
        assert len(site.sessions) == 0
        icons = [{"src": "data:image/png;base64," + "A" * 9000}]
        session = await site.open(capabilities={}, headers={})
        much = params | {
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1", "icons": icons},
        }
        assert (await site.post(request("initialize", much))).status == 200
        assert len(session.id) < 500


# --- what the client had set -------------------------------------------------------------------


async def test_the_log_level_is_kept(place: Place):
    async with place.instance() as site:
        session = await site.open()
        await session.post(request("logging/setLevel", {"level": "error"}))
    async with place.instance() as site:
        back = at(site, session)
        assert (await back.post(request("ping"))).status == 200
        assert back.session.level == "error"


async def subscribe(session: SessionClient, uri: str, method: str = "subscribe") -> None:
    answer = await session.post(request(f"resources/{method}", {"uri": uri}))
    assert answer.json["result"] == {}


def legacy() -> Server:
    resources = [resource("x://r"), resource("x://s")]
    return Server(tools=[tool("t")], resources=resources, revision=LATEST_LEGACY)


async def test_subscriptions_are_made_again_and_the_client_hears_what_it_may_have_missed(
    place: Place,
):
    async with place.instance(legacy()) as site:
        session = await site.open()
        for uri in ("x://r", "x://s"):
            await subscribe(session, uri)
        await subscribe(session, "x://s", "unsubscribe")
    async with place.instance(legacy()) as site:
        stream = await at(site, session).listen()
        told = [await stream.message() for _ in range(4)]
        assert {each["method"] for each in told} == CHANGES | {UPDATED}
        (updated,) = [each for each in told if each["method"] == UPDATED]
        assert updated["params"] == {"uri": "x://r"}
        assert site.server.subscribed == {"x://r"}
        site.server.announce(UPDATED, uri="x://r")
        assert (await stream.message())["params"]["uri"] == "x://r"


async def test_subscriptions_wait_for_a_backend_that_is_not_up_yet(
    place: Place, autojump_clock: trio.abc.Clock
):
    async with place.instance(legacy()) as site:
        session = await site.open()
        for uri in ("x://r", "x://s"):
            await subscribe(session, uri)
    async with place.instance(legacy()) as site:
        back = at(site, session)
        site.server.crash()
        backend = site.world.multiplexer.backends["alpha"]
        await until(lambda: not backend.is_up)
        assert (await back.post(request("ping"))).status == 200
        # The client may change its mind before that.
        unsubscribed = await back.post(request("resources/unsubscribe", {"uri": "x://s"}))
        assert unsubscribed.status == 200
        await trio.sleep(30)
        site.server.gate.set()
        await until(lambda: site.server.subscribed == {"x://r"})
        assert back.session.subscriber.uris == {"x://r"}


# --- streams of before -------------------------------------------------------------------------


async def test_a_request_that_was_lost_is_answered_where_its_stream_is_come_back_to(place: Place):
    async with place.instance() as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        client = await session.begin(call("x"))
        await wait_for(site.server)
        site.server.last.deliver(Notification("notifications/progress", raw({"message": "one"})))
        await client.stream_begins()
        prime, one = await client.event(), await client.event()
        assert prime is not None
        assert one is not None
    async with place.instance() as site:
        back = at(site, session)
        for event in (prime, one):
            stream = await back.listen(event.id)
            answer = await stream.message()
            assert answer["id"] == "x"
            assert answer["error"] == {"code": BackendLost.code, "message": LOST}
            assert await stream.event() is None
        # What is asked here has streams of its own, whatever their numbers are.
        site.server.handlers["tools/call"] = nothing
        client = await back.begin(call("y"))
        await wait_for(site.server)
        site.server.last.deliver(Notification("notifications/progress", raw({"message": "two"})))
        await client.stream_begins()
        stream = await back.listen(one.id)
        assert (await stream.message())["id"] == "x"


async def test_a_batch_that_was_lost_is_answered_for_each_request(place: Place):
    async with place.instance() as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open("2025-03-26")
        client = await session.begin([call("x"), call(7)])
        await wait_for(site.server, 2)
        site.server.last.deliver(Notification("notifications/progress", raw({"message": "one"})))
        await client.stream_begins()
        event = await client.event()
        assert event is not None
    async with place.instance() as site:
        stream = await at(site, session).listen(event.id)
        answers = [await stream.message(), await stream.message()]
        assert [answer["id"] for answer in answers] == ["x", 7]
        assert {answer["error"]["code"] for answer in answers} == {BackendLost.code}
        assert await stream.event() is None


async def test_the_standalone_stream_begins_anew(place: Place):
    async with place.instance() as site:
        session = await site.open()
        stream = await session.listen()
        site.server.change()
        event = await stream.event()
        assert event is not None
    async with place.instance() as site:
        stream = await at(site, session).listen(event.id)
        assert {(await stream.message())["method"] for _ in range(3)} == CHANGES
        site.server.change()
        assert (await stream.message())["method"] == "notifications/tools/list_changed"


FORGED = [f"1.{each}-1" for each in ("", "abc", "abc.e30", "abc.WzEu", "abc.W10", "abc.!")]


@pytest.mark.parametrize("event_id", FORGED)
async def test_events_that_never_were_cannot_be_come_back_to(place: Place, event_id: str):
    async with place.instance() as site:
        session = await site.open()
        assert (await (await session.get(event_id)).answer()).status == 400
    async with place.instance() as site:
        assert (await (await at(site, session).get(event_id)).answer()).status == 400


async def test_a_stream_of_a_session_that_was_never_elsewhere_has_no_former_events(place: Place):
    async with place.instance() as site:
        session = await site.open()
        answer = await (await session.get("1.abcdef.WzFd-1")).answer()
        assert (answer.status, answer.code) == (400, -32600)


async def test_event_ids_are_bounded(place: Place):
    async with place.instance() as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        client = await session.begin(call("x" * MAX_NAMED))
        await wait_for(site.server)
        site.server.last.deliver(Notification("notifications/progress", raw({"message": "one"})))
        await client.stream_begins()
        event = await client.event()
        assert event is not None
        assert event.id is not None
        assert len(event.id) < 40
        assert (await session.listen(event.id)).http
    async with place.instance() as site:
        assert (await (await at(site, session).get(event.id)).answer()).status == 400


async def test_the_oldest_transport_keeps_its_sessions_to_itself(place: Place):
    async with place.instance() as site:
        headers = {"accept": "text/event-stream"}
        client = await site.connect()
        await client.begin("GET", "/sse", headers)
        await client.stream_begins()
        endpoint = await client.event()
        assert endpoint is not None
        path = endpoint.data.decode()
        params = {"protocolVersion": "2024-11-05", "capabilities": {}}
        assert (await site.ask("POST", path, HEADERS, request("initialize", params))).status == 202
        await until(lambda: len(site.sessions) == 1)
        (session_id,) = site.sessions._sessions
        stray = SessionClient(site, session_id, "2024-11-05", {})
    async with place.instance() as site:
        assert (await at(site, stray).post(request("ping"))).status == 404
