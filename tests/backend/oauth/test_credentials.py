"""What the transport asks for a token, and whom it asks for another where that was refused."""

from __future__ import annotations

import os
from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing

from onemcp.backend.events import SecretExposed
from onemcp.backend.oauth import (
    BearerToken,
    Challenge,
    LoginNeeded,
    LoginRecord,
    LoginStore,
    NotNow,
    OAuthError,
    Registration,
    ServiceLogin,
    StoredAt,
    StoredLogin,
    Tokens,
)
from onemcp.backend.oauth._credentials import LOOK, RETRY
from onemcp.config import BearerLogin, ClientCredentialsLogin
from onemcp.state import Keyring
from tests.backend.oauth.world import ISSUER, SERVER, TOKEN, URL, World, server_metadata

MORE = Challenge(None, ("write",), "insufficient_scope")
CLIENT = Registration(ISSUER, "me")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stored:
    """A stored login and everything around it."""

    def __init__(self, directory, **tokens) -> None:
        self.world = World()
        self.events: list[object] = []
        self.clock = Clock()
        self.place = StoredAt(LoginStore(directory, Keyring([b"k" * 32])), "b", URL)
        if tokens:
            self.put(**tokens)
        flow = attrs.evolve(self.world.flow(), now=self.clock)
        self.login = StoredLogin(self.place, flow, self.events.append, self.clock)

    def put(self, **tokens) -> None:
        fresh = Tokens(**{"access": "t0", "refresh": "r0", "issued_at": 1000.0, **tokens})
        record = LoginRecord("b", URL, URL, TOKEN, CLIENT, fresh, ("read",))
        self.place.change(lambda _: record)

    @property
    def stored(self) -> Tokens | None:
        record = self.place.load()
        return None if record is None else record.tokens


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path, lifetime=600.0)


async def test_a_stored_token_is_used(stored):
    assert await stored.login.token() == "t0"
    assert stored.world.asked == []
    assert stored.login.secrets == {"t0", "r0"}


async def test_without_a_login_there_is_no_token_and_somebody_is_told_what_to_run(tmp_path):
    stored = Stored(tmp_path)
    assert await stored.login.token() is None
    assert not await stored.login.renew(None, Challenge())
    assert stored.login.remedy(Challenge()) == "run `onemcp login b`"


async def test_a_token_is_renewed_before_it_ends_and_the_new_one_is_stored(stored):
    stored.clock.now += 541
    assert await stored.login.token() == "t1"
    assert stored.world.forms == [
        {"grant_type": "refresh_token", "refresh_token": "r0", "resource": URL, "client_id": "me"}
    ]
    assert stored.stored == Tokens("t1", "r0", 1541.0, 3600.0, ())


async def test_those_who_ask_at_once_get_one_new_token(stored):
    stored.world.pages[TOKEN][1]["refresh_token"] = "r1"
    stored.world.delay = 0.01
    await stored.login.token()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(stored.login.renew, "t0", Challenge())
    assert len(stored.world.forms) == 1
    assert stored.stored is not None
    assert stored.stored.refresh == "r1"


async def test_a_login_that_is_over_is_asked_about_once(stored):
    stored.world.pages[TOKEN] = (400, {"error": "invalid_grant"})
    await stored.login.token()
    with pytest.raises(LoginNeeded, match="onemcp login b"):
        await stored.login.renew("t0", Challenge())
    for _ in range(5):
        assert not await stored.login.renew("t0", Challenge())
    assert await stored.login.token() is None
    assert len(stored.world.forms) == 1
    assert stored.stored is None
    assert [event.passing for event in stored.events] == [False]


async def test_what_another_process_has_renewed_is_used(stored):
    await stored.login.token()
    stored.world.pages[TOKEN] = (400, {"error": "invalid_grant"})
    stored.put(access="theirs", refresh="r1")
    assert await stored.login.renew("t0", Challenge())
    assert await stored.login.token() == "theirs"


async def test_a_server_that_fails_is_left_alone_for_longer_and_longer(stored):
    stored.world.pages[TOKEN] = (503, {})
    await stored.login.token()
    attempts = []
    for _ in range(100):
        before = len(stored.world.forms)
        with pytest.raises(NotNow):
            await stored.login.renew("t0", Challenge())
        if len(stored.world.forms) > before:
            attempts.append(stored.clock.now)
        stored.clock.now += 1
    assert [later - earlier for earlier, later in pairwise(attempts)] == [
        RETRY,
        2 * RETRY,
        4 * RETRY,
        8 * RETRY,
    ]
    assert stored.stored is not None
    stored.world.pages[TOKEN] = World().pages[TOKEN]
    stored.clock.now += 1000
    assert await stored.login.renew("t0", Challenge())


@pytest.mark.requirement("basic/authorization/index#refresh-tokens-3")
async def test_without_a_refresh_token_a_person_is_needed(tmp_path):
    stored = Stored(tmp_path, refresh=None, lifetime=600.0)
    stored.clock.now += 1000
    assert await stored.login.token() == "t0"
    assert not await stored.login.renew("t0", Challenge())
    assert stored.world.forms == []


@pytest.mark.requirement(
    "basic/authorization/index#step-up-authorization-flow-1",
    "basic/authorization/index#step-up-authorization-flow-2",
)
async def test_more_rights_are_noted_for_the_next_login(stored):
    await stored.login.token()
    assert not await stored.login.renew("t0", MORE)
    record = stored.place.load()
    assert record is not None
    assert (record.asked, record.wanted) == (("read",), ("write",))
    assert "write" in stored.login.remedy(MORE)
    assert "no other login helps" in stored.login.remedy(attrs.evolve(MORE, scopes=("read",)))


async def test_a_new_login_is_noticed(stored, mock_clock):
    async with trio.open_nursery() as nursery:
        await nursery.start(stored.login.run)
        version = stored.login.version
        stored.put(access="new")
        mock_clock.jump(LOOK)
        await stored.login.wait_newer(version)
        assert await stored.login.token() == "new"
        nursery.cancel_scope.cancel()


async def test_it_is_renewed_though_nobody_asks(stored, mock_clock):
    renewed = trio.Event()
    ask = stored.world._send

    async def note(request):
        renewed.set()
        return await ask(request)

    stored.world._send = note
    async with trio.open_nursery() as nursery:
        await nursery.start(stored.login.run)
        version = stored.login.version
        stored.clock.now += 541
        mock_clock.jump(LOOK)
        await renewed.wait()
        while await stored.login.token() != "t1":
            await trio.testing.wait_all_tasks_blocked()
        assert stored.login.version == version
        nursery.cancel_scope.cancel()


async def test_a_store_that_cannot_be_trusted_is_told(stored):
    stored.place.store.path("b").chmod(0o644)
    assert await stored.login.token() is None
    assert "chmod 600" in stored.login.remedy(Challenge())


# --- the store ------------------------------------------------------------------------------------


@pytest.mark.requirement("basic/authorization/index#token-handling-5")
def test_a_login_is_good_for_its_backend_address_and_key_alone(tmp_path):
    stored = Stored(tmp_path, lifetime=600.0)
    store = stored.place.store
    assert StoredAt(store, "b", "https://evil.example/mcp").load() is None
    store.path("c").write_bytes(store.path("b").read_bytes())
    store.path("c").chmod(0o600)
    assert StoredAt(store, "c", URL).load() is None
    assert StoredAt(LoginStore(tmp_path, Keyring([b"x" * 32])), "b", URL).load() is None
    assert StoredAt(store, "b", URL, "alice").load() is None
    assert stored.place.load() is not None


@pytest.mark.requirement("basic/authorization/index#refresh-tokens-1")
def test_nothing_secret_is_on_the_disk_in_clear(tmp_path):
    stored = Stored(tmp_path, access="the-access-token", refresh="the-refresh-token")
    path = stored.place.store.path("b")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"token" not in path.read_bytes()


# --- services -------------------------------------------------------------------------------------


def service(world: World, clock: Clock, events: list[object], **more) -> ServiceLogin:
    login = ClientCredentialsLogin(**{"client_id": "me", "client_secret": "s3cret", **more})
    flow = attrs.evolve(world.flow(), now=clock)
    return ServiceLogin("b", login, flow, events.append, clock)


async def test_a_service_gets_its_tokens_when_it_is_asked_for_one():
    world, clock = World(scopes_supported=["read"]), Clock()
    world.pages[SERVER] = (
        200,
        server_metadata(token_endpoint_auth_methods_supported=["client_secret_post"]),
    )
    login = service(world, clock, [])
    assert await login.token() is None
    assert await login.renew(None, Challenge())
    assert await login.token() == "t1"
    assert world.forms == [
        {
            "grant_type": "client_credentials",
            "resource": URL,
            "scope": "read",
            "client_id": "me",
            "client_secret": "s3cret",
        }
    ]
    clock.now += 3600
    world.pages[TOKEN][1]["access_token"] = "t2"
    assert await login.token() == "t2"


@pytest.mark.requirement(
    "basic/authorization/index#step-up-authorization-flow-1",
    "basic/authorization/index#step-up-authorization-flow-3",
)
async def test_a_service_asks_for_more_scopes_a_few_times():
    world = World()
    login = service(world, Clock(), [])
    assert await login.renew(None, Challenge(None, ("read",)))
    for step, scope in enumerate(("a", "b", "c")):
        world.pages[TOKEN][1]["access_token"] = f"step{step}"
        assert await login.renew(await login.token(), attrs.evolve(MORE, scopes=(scope,)))
        assert not await login.renew(await login.token(), attrs.evolve(MORE, scopes=(scope,)))
    assert world.forms[-1]["scope"] == "read a b c"
    assert not await login.renew(await login.token(), attrs.evolve(MORE, scopes=("d",)))
    assert "more rights" in login.remedy(MORE)
    assert "me" in login.remedy(Challenge())


async def test_a_service_keeps_to_the_scopes_it_was_given_and_to_its_issuer():
    world = World()
    login = service(world, Clock(), [], scopes=("only",), issuer=ISSUER)
    assert await login.renew(None, Challenge(None, ("read",)))
    assert world.forms[-1]["scope"] == "only"
    assert not await login.renew("t1", MORE)
    other = service(world, Clock(), [], issuer="https://other.example")
    with pytest.raises(OAuthError, match=r"auth\.issuer"):
        await other.renew(None, Challenge())


async def test_a_key_that_cannot_be_read_is_told(tmp_path):
    login = service(World(), Clock(), [], client_secret=None, private_key_file=tmp_path / "none")
    with pytest.raises(OAuthError, match=r"privateKeyFile.*no such file"):
        await login.renew(None, Challenge())
    assert "s3cret" not in repr(login)


# --- tokens that somebody else sees to ------------------------------------------------------------


def bearer(environ=(), on_event=lambda _: None, **source) -> BearerToken:
    return BearerToken("b", BearerLogin(**source), dict(environ), on_event)


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True)])
async def test_a_file_that_anybody_may_read_is_told_of(tmp_path, mode, is_told):
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(mode)
    events = []
    assert await bearer(on_event=events.append, token_file=path).token() == "s3cret"
    assert events == ([SecretExposed("b", str(path), f"{mode:04o}")] if is_told else [])
    assert "s3cret" not in repr(events)


async def test_what_is_no_file_holds_no_token(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with trio.fail_after(30):
        assert await bearer(token_file=path).token() is None
        assert await bearer(token_file=tmp_path).token() is None


async def test_a_token_of_the_environment_is_sent():
    token = bearer({"T": " abc \n"}, token_variable="T")
    assert await token.token() == "abc"
    assert not await token.renew("abc", Challenge())
    assert token.secrets == {"abc"}
    assert token.remedy(Challenge()) == "it refuses the token in the environment variable T"
    assert "abc" not in repr(token)


@pytest.mark.parametrize("value", ["", "a b", "ö"])
async def test_what_is_no_token_is_not_sent(value):
    token = bearer({"T": value}, token_variable="T")
    assert await token.token() is None
    assert token.remedy(Challenge()) == "the environment variable T holds no token"
    assert token.secrets == frozenset()


async def test_a_file_is_read_again_when_it_changes(tmp_path, mock_clock):
    path = tmp_path / "token"
    token = bearer(token_file=path)
    assert await token.token() is None
    path.write_text("one\n")
    assert await token.renew(None, Challenge())
    async with trio.open_nursery() as nursery:
        await nursery.start(token.run)
        version = token.version
        path.write_text("another\n")
        mock_clock.jump(LOOK)
        await token.wait_newer(version)
        assert await token.token() == "another"
        nursery.cancel_scope.cancel()
