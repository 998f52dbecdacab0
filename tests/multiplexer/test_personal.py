"""A backend that each user has for themselves: nothing of one user's reaches another."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio
import trio.testing
from msgspec import Raw

from onemcp.backend import Backend, Caller, Identity, PersonalBackend, Roster
from onemcp.backend.connection import LoginRequired
from onemcp.backend.oauth._credentials import Versioned
from onemcp.multiplexer.subscriptions import ALL_LISTS
from onemcp.protocol.errors import InteractionNotPossible, InvalidParams, LoginWanted, RemoteError
from onemcp.protocol.methods import RESOURCE_UPDATED
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.supervision import ChildSpec
from tests.multiplexer.fakes import (
    FakeConnection,
    Server,
    World,
    ask,
    decoded,
    nothing,
    receive_all,
    resource,
    send,
    tool,
)

IDLE = 100.0
URL = "https://gateway.example/oauth/connect/notes"
SHOWS_URLS = Raw(b'{"elicitation":{"url":{}}}')


class Login(Versioned):
    """A login that somebody may make later."""

    secrets: frozenset[str] = frozenset()


class Wanting(FakeConnection):
    """A connection to a server that wants a login."""

    def __init__(self, login: Login, *rest) -> None:
        super().__init__(*rest)
        self._login = login

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        if not self._login.version:
            raise LoginRequired("it wants a login")
        await super().run(task_status=task_status)


@attrs.define
class Users:
    """Everybody's own `notes`, beside a server that all of them share.

    Attributes:
        servers: What stands behind the backend of each user.
        logins: The logins of those who have to make one.
        runs: How often each user's backend was started.
    """

    world: World
    most: int = 10
    roster: Roster = attrs.field(init=False)
    servers: dict[str, Server] = attrs.field(factory=dict)
    logins: dict[str, Login] = attrs.field(factory=dict)
    runs: list[str] = attrs.field(factory=list)
    clock: list[float] = attrs.field(factory=lambda: [1000.0])

    async def open(self) -> None:
        shared = Server("shared", tools=[tool("common")])
        await self.world.show(shared)
        settings = Server("notes").config
        self.roster = Roster(
            Backend(settings, **self._common()),
            self._make,
            most=self.most,
            idle=IDLE,
            now=lambda: self.clock[0],
        )
        backends = [*self.world.multiplexer.backends.values(), self.roster.stand_in]
        self.world.multiplexer.replace(backends, [self.roster])
        await self.world.nursery.start(self.roster.supervisor.run)
        await self.world.nursery.start(self.roster.run)

    def view(self, user: str, name: str | None = None):
        view = self.world.multiplexer.view(name, user=user)
        assert view is not None
        return view

    async def meet(self, *users: str) -> None:
        """Let users come, and their backends be up."""
        for user in users:
            await self.roster.backend_of(user).wait_ready()

    def _common(self, server: Server | None = None, login: Login | None = None):
        def connect(setup):
            assert server is not None
            if login is None:
                return FakeConnection(server, setup.notification_handler)
            return Wanting(login, server, setup.notification_handler)

        return {
            "connect": connect,
            "observer": self.world.multiplexer,
            "identity": Identity(Raw(b'{"name":"onemcp"}')),
            "on_event": self.world.events.append,
            "credentials": login,
        }

    def _make(self, user: str):
        own = [resource("notes://all")]
        tools = [tool("write"), tool(f"only_{user}")]
        server = self.servers.setdefault(user, Server("notes", tools=tools, resources=own))
        common = self._common(server, self.logins.get(user))
        backend = PersonalBackend(server.config, user=user, login_url=URL, **common)

        async def run(*, task_status) -> None:
            self.runs.append(user)
            task_status.started()
            async with trio.open_nursery() as nursery:
                await nursery.start(backend.pool.supervisor.run)
                await backend.serve()

        return backend, ChildSpec(id=f"user-{len(self.runs)}-{user}", start=run)


@pytest.fixture
async def users(nursery):
    users = Users(World(nursery))
    await users.open()
    return users


def as_user(user: str, revision: str = LATEST_MODERN, **more) -> Caller:
    return Caller(object(), user, revision, **more)


async def names(users: Users, user: str) -> list[str]:
    listed = await ask(users.view(user), "tools/list", caller=as_user(user))
    return [each["name"] for each in listed["tools"]]


WRITE = {"name": "notes__write", "arguments": {}}


async def test_each_user_sees_their_own_list_beside_what_all_share(users, autojump_clock):
    assert await names(users, "ada") == ["shared__common", "notes__write", "notes__only_ada"]
    assert await names(users, "bob") == ["shared__common", "notes__write", "notes__only_bob"]
    alone = await ask(users.view("bob", "notes"), "tools/list", caller=as_user("bob"))
    assert [each["name"] for each in alone["tools"]] == ["write", "only_bob"]


async def test_what_depends_on_the_user_is_private_whatever_a_server_says(users, autojump_clock):
    for server in (Server("notes", tools=[tool("write")]),):
        server.hints = {"cacheScope": "public", "ttlMs": 1000}
        users.servers["ada"] = server
    alone = await ask(users.view("ada", "notes"), "tools/list", caller=as_user("ada"))
    assert alone["cacheScope"] == "private"


async def test_a_call_goes_over_its_users_own_connection(users, autojump_clock):
    await users.meet("ada", "bob")
    await ask(users.view("ada"), "tools/call", WRITE, as_user("ada"))
    assert [len(users.servers[user].calls) for user in ("ada", "bob")] == [1, 0]
    other = {"name": "notes__only_ada", "arguments": {}}
    with pytest.raises(InvalidParams, match="Unknown tool"):
        await send(users.view("bob"), "tools/call", other, as_user("bob"))
    assert [len(users.servers[user].calls) for user in ("ada", "bob")] == [1, 0]


async def test_nobody_hears_of_what_happens_at_anothers(users, autojump_clock):
    await users.meet("ada", "bob")
    heard = {}
    for user in ("ada", "bob"):
        view = users.view(user)
        uris = frozenset({"notes://all"})
        heard[user] = await view.subscribe(ALL_LISTS, uris, caller=as_user(user))
        assert heard[user].uris == uris
    await trio.testing.wait_all_tasks_blocked()
    assert all(users.servers[user].subscribed == {"notes://all"} for user in heard)
    server = users.servers["ada"]
    server.announce(RESOURCE_UPDATED, uri="notes://all")
    server.lists["tools"] = [tool("other")]
    server.announce("notifications/tools/list_changed")
    await trio.testing.wait_all_tasks_blocked()
    methods = {(await heard["ada"].receive()).method for _ in range(2)}
    assert methods == {RESOURCE_UPDATED, "notifications/tools/list_changed"}
    assert not heard["bob"]._pending
    assert await names(users, "ada") == ["shared__common", "notes__other"]
    assert "notes__write" in await names(users, "bob")
    for subscriber in heard.values():
        subscriber.close()


async def test_tasks_of_the_same_id_are_two(users, autojump_clock):
    register = users.world.multiplexer.tasks.register
    await users.meet("ada", "bob")
    for user in ("ada", "bob"):
        server = users.servers[user]
        server.description = attrs.evolve(
            server.description,
            capabilities={"extensions": {"io.modelcontextprotocol/tasks": {}}, "tools": {}},
        )
        task = {"resultType": "task", "taskId": "t-1", "status": "working"}
        server.handlers["tools/call"] = partial(_answer, task)
    declared = Raw(b'{"extensions":{"io.modelcontextprotocol/tasks":{}}}')
    ids = {}
    for user in ("ada", "bob"):
        caller = as_user(user, capabilities=declared)
        ids[user] = (await ask(users.view(user), "tools/call", WRITE, caller))["taskId"]
    assert len(register) == 2
    for user in ("ada", "bob"):
        tasks = users.world.multiplexer.tasks
        ref = tasks.open(ids[user], as_user(user), None)
        assert (ref.id, ref.user) == ("t-1", user)
    with pytest.raises(InvalidParams):
        tasks.open(ids["ada"], as_user("bob"), None)


def _answer(value, exchange) -> None:
    from tests.multiplexer.fakes import result  # noqa: PLC0415

    result(value)(exchange)


# --- logins -------------------------------------------------------------------------------------


async def test_who_has_not_logged_in_is_told_where_and_others_are_not_in_the_way(
    users, autojump_clock
):
    users.logins["ada"] = Login()
    assert await names(users, "ada") == ["shared__common"]
    assert "notes__write" in await names(users, "bob")
    with pytest.raises(LoginWanted, match=URL) as caught:
        await send(users.view("ada"), "tools/call", WRITE, as_user("ada"))
    assert caught.value.data == {"backend": "notes", "url": URL}
    await ask(users.view("ada"), "tools/call", {"name": "shared__common"}, as_user("ada"))


async def test_a_client_that_shows_urls_is_asked_and_the_call_goes_on_after_the_login(
    users, autojump_clock
):
    users.logins["ada"] = login = Login()
    await names(users, "ada")
    caller = as_user("ada", capabilities=SHOWS_URLS)
    asked = await ask(users.view("ada"), "tools/call", WRITE, caller)
    assert asked["resultType"] == "input_required"
    ((key, question),) = asked["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    assert (question["params"]["mode"], question["params"]["url"]) == ("url", URL)
    users.world.nursery.start_soon(_log_in_after, login, 10.0)
    retry = {**WRITE, "inputResponses": {key: {"action": "accept"}}}
    done = await ask(users.view("ada"), "tools/call", retry, caller)
    assert done["said"] == "notes"
    (sent,) = users.servers["ada"].sent
    assert "inputResponses" not in sent, "the backend has asked nothing"


async def _log_in_after(login: Login, seconds: float) -> None:
    await trio.sleep(seconds)
    login.bump()


async def test_who_says_no_or_takes_too_long_gets_nothing(users, autojump_clock):
    users.logins["ada"] = Login()
    await names(users, "ada")
    caller = as_user("ada", capabilities=SHOWS_URLS)
    asked = await ask(users.view("ada"), "tools/call", WRITE, caller)
    (key,) = asked["inputRequests"]
    for answer, error in (("decline", True), ("cancel", True), ("accept", False)):
        retry = {**WRITE, "inputResponses": {key: {"action": answer}}}
        if error:
            with pytest.raises(InteractionNotPossible):
                await send(users.view("ada"), "tools/call", retry, caller)
        else:
            again = await ask(users.view("ada"), "tools/call", retry, caller)
            assert again["resultType"] == "input_required"
    assert users.servers["ada"].calls == []


async def test_a_legacy_client_gets_the_error_that_its_revision_has_for_it(users, autojump_clock):
    users.logins["ada"] = Login()
    await names(users, "ada")
    caller = as_user("ada", LATEST_LEGACY, capabilities=SHOWS_URLS)
    with pytest.raises(RemoteError) as caught:
        await send(users.view("ada"), "tools/call", WRITE, caller)
    assert caught.value.code == -32042
    (asked,) = decoded(caught.value.raw)["data"]["elicitations"]
    assert (asked["mode"], asked["url"]) == ("url", URL)
    assert asked["elicitationId"]
    older = as_user("ada", "2025-06-18", capabilities=SHOWS_URLS)
    with pytest.raises(LoginWanted):
        await send(users.view("ada"), "tools/call", WRITE, older)


async def test_resources_that_may_be_there_are_not_said_to_be_missing(users, autojump_clock):
    users.logins["ada"] = Login()
    await names(users, "ada")
    uri = {"uri": "notes://1"}
    with pytest.raises(LoginWanted):
        await send(users.view("ada", "notes"), "resources/read", uri, as_user("ada"))


async def test_a_login_brings_the_list_and_is_announced(users, autojump_clock):
    users.logins["ada"] = login = Login()
    await names(users, "ada")
    subscriber = await users.view("ada").subscribe(ALL_LISTS, caller=as_user("ada"))
    login.bump()
    assert (await subscriber.receive()).method.endswith("list_changed")
    assert "notes__only_ada" in await names(users, "ada")
    subscriber.close()


# --- coming and going ---------------------------------------------------------------------------


async def test_what_nobody_uses_ends_and_comes_back_with_the_next_call(users, autojump_clock):
    await users.meet("ada")
    backend = users.roster.backend_of("ada")
    await trio.sleep(3 * IDLE)
    assert not backend.is_up
    assert "notes__only_ada" in await names(users, "ada"), "what it lists is known still"
    assert not backend.is_up, "and to list it takes no connection"
    done = await ask(users.view("ada"), "tools/call", WRITE, as_user("ada"))
    assert done["said"] == "notes"
    assert users.runs == ["ada", "ada"]


async def test_what_is_used_goes_on(users, autojump_clock):
    await users.meet("ada")
    users.servers["ada"].handlers["tools/call"] = nothing
    reply = await send(users.view("ada"), "tools/call", WRITE, as_user("ada"))
    await trio.sleep(IDLE / 2)
    backend = users.roster.backend_of("ada")
    with trio.move_on_after(50):
        await receive_all(reply)
    assert backend.is_up
    assert users.runs == ["ada"]


async def test_there_are_so_many_users_at_once_and_the_longest_unused_makes_room(nursery):
    users = Users(World(nursery), most=2)
    await users.open()
    await users.meet("ada", "bob")
    users.servers["bob"].handlers["tools/call"] = nothing
    reply = await send(users.view("bob"), "tools/call", WRITE, as_user("bob"))
    await users.meet("cyd")
    assert [each.user for each in users.roster] == ["bob", "cyd"]
    users.servers["cyd"].handlers["tools/call"] = nothing
    second = await send(users.view("cyd"), "tools/call", WRITE, as_user("cyd"))
    assert users.roster.backend_of("dan") is users.roster.stand_in
    assert await names(users, "dan") == ["shared__common"]
    reply.close()
    second.close()


async def test_who_is_let_in_no_more_loses_what_was_open(users, autojump_clock, monkeypatch):
    await users.meet("ada", "bob")
    before, failed = users.roster.backend_of("ada"), []
    monkeypatch.setattr(before, "abandon", failed.append)
    users.world.multiplexer.drop_users(lambda user, since: user == "ada" and since <= 1000.0)
    assert failed == ["its user is let in no more"]
    await trio.testing.wait_all_tasks_blocked()
    assert not before.is_up
    assert [each.user for each in users.roster] == ["bob"]
    assert users.roster.backend_of("bob").is_up
    await users.meet("ada")
    assert users.roster.backend_of("ada") is not before


async def test_nobody_in_particular_sees_none_of_it(users, autojump_clock):
    await users.meet("ada")
    view = users.world.multiplexer.view()
    assert view is not None
    listed = await ask(view, "tools/list", caller=as_user("ada"))
    assert [each["name"] for each in listed["tools"]] == ["shared__common"]


async def test_a_new_roster_takes_over_who_is_there(users, autojump_clock):
    await users.meet("ada")
    subscriber = await users.view("ada").subscribe(
        ALL_LISTS, frozenset({"notes://all"}), caller=as_user("ada")
    )
    old = users.roster
    users.roster = Roster(
        Backend(old.stand_in.config, **users._common()), users._make, most=5, idle=IDLE
    )
    shared = users.world.multiplexer.backends["shared"]
    users.world.multiplexer.replace([shared, users.roster.stand_in], [users.roster])
    assert [each.user for each in users.roster] == ["ada"]
    assert users.roster.backend_of("ada").upstream.wanted == {"notes://all"}
    await old.drain()
    assert old.backend_of("bob") is old.stand_in
    subscriber.close()
