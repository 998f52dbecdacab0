"""``onemcp login`` where the browser is elsewhere, and comes back to a gateway that runs."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from onemcp import config
from onemcp.app import authorizing, upstream
from onemcp.app import login as login_module
from onemcp.app.durable import open_keyring
from onemcp.app.login import LoginOptions, log_in
from onemcp.app.upstream import LoginImpossible, UpstreamLogins
from onemcp.backend.oauth import Challenge, LoginNeeded, LoginStore, StoredLogin
from onemcp.web import LoginFailed
from tests.backend.oauth.world import ISSUER, REGISTER, SERVER, TOKEN, URL, World, server_metadata

ORIGIN = "https://gateway.example"
HOST = "https://other.example.com"
OTHER = f"{HOST}/mcp"


class Desk:
    """A terminal, a gateway, and a browser somewhere."""

    def __init__(self, folder, monkeypatch) -> None:
        self.world = World()
        for module in (upstream, login_module):
            monkeypatch.setattr(module, "flow_for", lambda to: self.world.flow(to.url))
        self.path = folder / "onemcp.json"
        self.environ = {"XDG_STATE_HOME": str(folder)}
        directory = config.state_directory(self.environ)
        self.store = LoginStore(directory, open_keyring(directory, None))
        self.asked: dict[str, list[str]] = {}
        self.settings = self.configure(URL)

    def configure(self, *urls: str) -> config.Backend:
        """Have the backend at one address, or at several."""
        server = {"url": urls if len(urls) > 1 else urls[0]}
        document = {"mcpServers": {"b": server}, "server": {"publicUrl": ORIGIN}}
        self.path.write_text(json.dumps(document), encoding="utf-8")
        configuration = config.load(self.path, environ=self.environ)
        self.gateway = UpstreamLogins(self.store, configuration)
        self.settings = configuration.backends[0]
        return self.settings

    async def log_in(self, **more):
        options = LoginOptions("b", self.path, local_browser=False, **more)
        return await log_in(options, lambda _: None, self.environ)

    async def go(self, code: str | None = "c", **more):
        """Log in, and come back to the gateway with an answer."""
        shown = trio.Event()
        outcome = []

        async def in_terminal() -> None:
            options = LoginOptions("b", self.path, local_browser=False, **more)
            outcome.append(await log_in(options, show, self.environ))

        def show(url: str) -> None:
            self.asked = parse_qs(urlsplit(url).query)
            trio.from_thread.run_sync(shown.set)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_terminal)
            await shown.wait()
            answer = {"state": self.asked["state"], "iss": [ISSUER]}
            if code is not None:
                answer["code"] = [code]
            try:
                await self.gateway.finish(answer, "")
            except LoginFailed:
                assert code is None or self.world.pages[TOKEN][0] != 200
        return outcome[0]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return Desk(tmp_path, monkeypatch)


async def test_the_gateway_stores_the_login_and_the_terminal_sees_it(desk):
    record = await desk.go()
    assert record.tokens.access == "t1"
    assert desk.asked["redirect_uri"] == [f"{ORIGIN}/oauth/callback"]
    assert desk.world.body(REGISTER)["redirect_uris"] == [f"{ORIGIN}/oauth/callback"]


@pytest.mark.requirement("basic/authorization/client-registration#introduction-1")
async def test_its_own_document_comes_before_registration(desk):
    supported = server_metadata(client_id_metadata_document_supported=True)
    desk.world.pages[SERVER] = (200, supported)
    await desk.go()
    assert desk.asked["client_id"] == [f"{ORIGIN}/oauth/client.json"]
    assert REGISTER not in [url for _, url in desk.world.asked]


async def test_the_login_of_one_user_is_nobody_elses(desk):
    record = await desk.go(user="alice")
    assert (record.user, record.tokens.access) == ("alice", "t1")


async def test_what_went_wrong_is_told_where_the_browser_is(desk, monkeypatch):
    monkeypatch.setattr(login_module, "REDEEM_PATIENCE", 0.0)
    desk.world.pages[TOKEN] = (400, {"error": "invalid_grant"})
    with pytest.RaisesGroup(pytest.RaisesExc(LoginNeeded, match="page in the browser")):
        await desk.go()


def credentials(desk, settings: config.Backend) -> StoredLogin:
    """Return how a gateway logs in."""
    found = authorizing.of_backend(settings, settings.transport, desk.store, lambda _: None, {})
    assert isinstance(found, StoredLogin)
    return found


async def test_each_of_several_addresses_has_its_own_login(desk):
    described = {"resource": OTHER, "authorization_servers": [ISSUER]}
    desk.world.pages[f"{HOST}/.well-known/oauth-protected-resource/mcp"] = (200, described)
    replicas = desk.configure(URL, OTHER).of_replicas()
    for key, settings in replicas.items():
        there = credentials(desk, settings)
        assert await there.token() is None
        assert there.remedy(Challenge()) == f"run `onemcp login b --replica {key}`"
        token = {"access_token": f"token.{key}", "token_type": "Bearer"}
        desk.world.pages[TOKEN] = (200, token)
        await desk.go(replica=key)
    for key, settings in replicas.items():
        assert await credentials(desk, settings).token() == f"token.{key}"
    assert [form["resource"] for form in desk.world.forms] == [URL, OTHER]


async def test_which_of_several_addresses_has_to_be_said(desk):
    desk.configure(URL, OTHER)
    for wrong in ("", "mcp"):
        with pytest.raises(LoginImpossible, match=r"mcp\.example\.com, other\.example\.com\."):
            await desk.log_in(replica=wrong)
    desk.configure(URL)
    with pytest.raises(LoginImpossible, match="has one address"):
        await desk.log_in(replica="mcp.example.com")


async def test_nobody_is_waited_for_for_ever(desk, autojump_clock):
    with pytest.raises(trio.TooSlowError):
        await desk.log_in(patience=20)
