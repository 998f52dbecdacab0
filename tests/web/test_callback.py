"""The way back from a backend's authorization server, through the gateway."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import attrs
import httpx
import pytest
import trio

from onemcp.app import upstream
from onemcp.app.upstream import UpstreamLogins
from onemcp.auth.server import What
from onemcp.backend.oauth import LoginStore, StoredAt, _waiting
from onemcp.backend.oauth._waiting import LIFETIME, WaitingLogins
from onemcp.config import Backend, Configuration, HttpTransport, Server
from onemcp.state import Keyring
from onemcp.web import Pages
from tests.backend.oauth.world import ISSUER, REGISTER, SERVER, TOKEN, URL, World, server_metadata
from tests.support.pages import Wire

ORIGIN = "https://gateway.example"
KEYS = Keyring([b"k" * 32])


class Gateway:
    """What of a gateway a browser sees when it comes back, and what is behind that.

    Attributes:
        world: The backend and its authorization server.
        events: What was written down.
    """

    def __init__(self, directory, monkeypatch) -> None:
        self.directory = directory
        self.world = World()
        self.world.pages[SERVER] = (
            200,
            server_metadata(authorization_response_iss_parameter_supported=True),
        )
        self.events: list[object] = []
        monkeypatch.setattr(upstream, "flow_for", lambda _: self.world.flow())
        self.store = LoginStore(directory, KEYS)
        self.logins = self.another()
        self.browser = self.client(self.logins)

    def another(self) -> UpstreamLogins:
        """Return another gateway with the same state directory."""
        backend = Backend(name="b", transport=HttpTransport(url=URL))
        configuration = Configuration(backends=(backend,), server=Server(public_url=ORIGIN))
        return UpstreamLogins(LoginStore(self.directory, KEYS), configuration, self.events.append)

    def client(self, logins: UpstreamLogins) -> httpx.AsyncClient:
        pages = Pages(lambda _: ORIGIN, None, lambda: logins)
        return httpx.AsyncClient(transport=Wire(pages), base_url=ORIGIN)

    @property
    def tokens(self):
        record = StoredAt(self.store, "b", URL).load()
        return None if record is None else record.tokens

    async def begin(self, **more) -> dict[str, str]:
        """Begin a login; return what the right answer says."""
        url = await self.logins.begin("b", ORIGIN, **more)
        asked = parse_qs(urlsplit(url).query)
        assert asked["redirect_uri"] == [f"{ORIGIN}/oauth/callback"]
        return {"state": asked["state"][0], "code": "c", "iss": ISSUER}

    async def come_back(self, answer, **more) -> httpx.Response:
        return await self.browser.get("/oauth/callback", params=answer, **more)


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    return Gateway(tmp_path, monkeypatch)


@pytest.mark.requirement(
    "basic/authorization/client-registration#application-type-and-redirect-uri-constraints-3"
)
async def test_a_login_comes_back_through_the_gateway_and_is_stored(gateway):
    answer = await gateway.begin()
    registered = gateway.world.body(REGISTER)
    assert registered["redirect_uris"] == [f"{ORIGIN}/oauth/callback"]
    assert registered["application_type"] == "web"
    page = await gateway.come_back(answer)
    assert page.status_code == 200
    assert "has logged in at <strong>b</strong>" in page.text
    assert gateway.tokens.access == "t1"
    (form,) = gateway.world.forms
    assert (form["code"], form["redirect_uri"]) == ("c", f"{ORIGIN}/oauth/callback")
    assert len(form["code_verifier"]) >= 43
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert [event.what for event in gateway.events] == [What.BACKEND_LOGIN]
    assert "t1" not in repr(gateway.events)


async def test_any_gateway_of_the_same_state_directory_takes_it(gateway):
    answer = await gateway.begin()
    other = gateway.client(gateway.another())
    assert (await other.get("/oauth/callback", params=answer)).status_code == 200
    assert gateway.tokens.access == "t1"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x" * 43},
        {"state": ""},
        {"state": "../../keys"},
        {"state": "x" * 5000},
        {"state": "é" * 43},
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"code": None},
        {"code": ""},
        {"code": "x" * 5000},
        {"error": "access_denied", "code": None},
        {"error": "<script>alert(1)</script>"},
        {"code": ["c", "d"]},
        {"state": ["s", "t"]},
        {"other": ["x", "y"]},
        {f"n{number}": "x" for number in range(30)},
        {"padding": "x" * 10_000},
    ],
    ids=lambda change: repr(change)[:40],
)
async def test_what_is_not_the_answer_stores_nothing(gateway, change):
    answer = {**await gateway.begin(), **change}
    page = await gateway.come_back({k: v for k, v in answer.items() if v is not None})
    assert page.status_code == 400
    assert gateway.tokens is None
    assert "<script>" not in page.text
    assert gateway.world.forms == []


@pytest.mark.parametrize("query", [b"", b"&&&", b"%ff=%ff", b"state", b"state=%00"])
async def test_what_is_no_answer_at_all_is_refused(gateway, query):
    request = httpx.Request("GET", httpx.URL(f"{ORIGIN}/oauth/callback", query=query))
    response = await gateway.browser.send(request)
    assert response.status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_do_nothing(gateway, method):
    answer = await gateway.begin()
    page = await gateway.browser.request(method, "/oauth/callback", params=answer)
    assert page.status_code == 404
    assert (await gateway.come_back(answer)).status_code == 200


async def test_an_answer_is_good_once(gateway):
    answer = await gateway.begin()
    assert (await gateway.come_back(answer)).status_code == 200
    assert (await gateway.come_back(answer)).status_code == 400
    assert len(gateway.world.forms) == 1


async def test_of_many_at_once_one_is_redeemed(gateway):
    answer = await gateway.begin()
    statuses: list[int] = []

    async def come_back() -> None:
        statuses.append((await gateway.come_back(answer)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(come_back)
    assert sorted(statuses) == [200] + [400] * 7
    assert len(gateway.world.forms) == 1


async def test_an_answer_of_another_authorization_server_ends_the_login(gateway):
    """Whoever mixed it up has the code already: it is not to be tried again (RFC 9207)."""
    answer = await gateway.begin()
    assert (await gateway.come_back({**answer, "iss": "https://evil.example"})).status_code == 400
    assert (await gateway.come_back(answer)).status_code == 400
    assert [event.what for event in gateway.events] == [What.BACKEND_LOGIN_REFUSED]


async def test_another_browser_than_the_one_that_began_is_turned_away(gateway):
    answer = await gateway.begin(user="alice", cookie="hers")
    cookie = {"Cookie": "__Host-onemcp-login=another"}
    assert (await gateway.come_back(answer)).status_code == 400
    assert (await gateway.come_back(answer, headers=cookie)).status_code == 400
    cookie = {"Cookie": "__Host-onemcp-login=hers"}
    assert (await gateway.come_back(answer, headers=cookie)).status_code == 200
    assert gateway.tokens is None, "that of everybody is none"
    record = StoredAt(gateway.store, "b", URL, "alice").load()
    assert record.tokens.access == "t1"
    assert StoredAt(gateway.store, "b", URL, "bob").load() is None


async def test_users_share_the_registration_and_nothing_else(gateway):
    for user in ("alice", "bob"):
        answer = await gateway.begin(user=user)
        assert (await gateway.come_back(answer)).status_code == 200
    assert [url for _, url in gateway.world.asked].count(REGISTER) == 1
    assert gateway.tokens is None


async def test_a_refused_code_is_told_without_details(gateway):
    gateway.world.pages[TOKEN] = (400, {"error": "invalid_grant", "error_description": "<b>no"})
    page = await gateway.come_back(await gateway.begin())
    assert page.status_code == 400
    assert "invalid_grant" in page.text
    assert "&lt;b&gt;" not in page.text
    assert "<b>no" not in page.text
    assert gateway.tokens is None


async def test_a_backend_that_has_moved_gets_no_login_of_before(gateway):
    answer = await gateway.begin()
    moved = Backend(name="b", transport=HttpTransport(url="https://evil.example/mcp"))
    gateway.logins.reconfigure(Configuration(backends=(moved,)))
    assert (await gateway.come_back(answer)).status_code == 400
    gateway.logins.reconfigure(Configuration())
    assert (await gateway.come_back(await _begun(gateway))).status_code == 400
    assert gateway.world.forms == []


async def _begun(gateway):
    gateway.logins.reconfigure(gateway.another()._configuration)
    answer = await gateway.begin()
    gateway.logins.reconfigure(Configuration())
    return answer


async def test_a_login_waits_for_a_while(gateway):
    answer = await gateway.begin()
    later = WaitingLogins(gateway.directory, KEYS, lambda: 4e9 + LIFETIME)
    assert later.take(answer["state"], "") is None


async def test_it_waits_for_those_with_its_keys_alone(gateway):
    answer = await gateway.begin()
    assert WaitingLogins(gateway.directory, Keyring([b"x" * 32])).take(answer["state"], "") is None
    assert gateway.store.waiting.take(answer["state"], "") is not None


async def test_so_many_wait_and_the_oldest_make_room(gateway, monkeypatch):
    monkeypatch.setattr(_waiting, "MAX_WAITING", 5)
    answer = await gateway.begin()
    state, waiting = answer["state"], gateway.store.waiting
    login = waiting.take(state, "")
    for number in range(10):
        asked = attrs.evolve(login.pending.authorization, state=f"{number:0>43}")
        waiting.put(attrs.evolve(login, pending=attrs.evolve(login.pending, authorization=asked)))
    assert len(list((gateway.directory / "callbacks").iterdir())) == 5


@pytest.mark.requirement("basic/authorization/security-considerations#token-theft-1")
async def test_nothing_of_it_is_on_the_disk_in_clear(gateway):
    answer = await gateway.begin()
    (path,) = (gateway.directory / "callbacks").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert answer["state"] not in path.name
    assert answer["state"].encode() not in path.read_bytes()
