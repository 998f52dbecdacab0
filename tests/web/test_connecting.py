"""Pages where each user logs in at a backend of their own: whose login it becomes, and who may."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from onemcp.app import upstream
from onemcp.app.upstream import UpstreamLogins
from onemcp.auth.server import Person, What
from onemcp.backend.oauth import LoginStore, StoredAt
from onemcp.config import AuthorizationCodeLogin, Backend, Configuration, HttpTransport, Server
from onemcp.state import Keyring
from onemcp.web import Pages
from tests.auth.server.conftest import World as People
from tests.backend.oauth.world import ISSUER, TOKEN, URL, World
from tests.support.pages import Wire
from tests.support.passwords import hashed
from tests.support.person import Person as Visitor

ORIGIN = "https://gateway.example"
PASSWORD = "correct horse"
PAGE = f"{ORIGIN}/oauth/connect/b"


class Gateway:
    """A gateway with a backend that each user has for themselves, and one that all share."""

    def __init__(self, directory, monkeypatch) -> None:
        self.world, self.events, self.refused = World(), [], set()
        monkeypatch.setattr(upstream, "flow_for", lambda _: self.world.flow())
        people = People(directory / "state")
        password = hashed(PASSWORD)
        names = ("alice", "bob")
        people.server = people.start(people={n: Person(name=n, password=password) for n in names})
        self.server, self.audit = people.server, people.audit
        each = AuthorizationCodeLogin(per="user")
        backends = (
            Backend(name="b", transport=HttpTransport(url=URL, auth=each)),
            Backend(name="shared", transport=HttpTransport(url=URL)),
        )
        self.store = LoginStore(directory / "onemcp", Keyring([b"k" * 32]))
        logins = UpstreamLogins(
            self.store,
            Configuration(backends=backends, server=Server(public_url=ORIGIN)),
            self.events.append,
            lambda user, _: user not in self.refused,
        )
        self.pages = Pages(lambda _: ORIGIN, people.server, lambda: logins)

    def visitor(self) -> Visitor:
        return Visitor(transport=Wire(self.pages))

    async def come(self, name: str) -> Visitor:
        """Let a user log in at the page."""
        visitor = self.visitor()
        await visitor.visit(PAGE)
        page = await visitor.submit(username=name, password=PASSWORD)
        assert name in page.text
        return visitor

    async def begin(self, visitor: Visitor) -> dict[str, str]:
        """Begin a login; return the right answer to it."""
        page = await visitor.submit(decision="connect")
        url = unescape(re.search(r'<a href="([^"]+)"', page.text)[1])
        asked = parse_qs(urlsplit(url).query)
        return {"state": asked["state"][0], "code": "c", "iss": ISSUER}

    async def come_back(self, visitor: Visitor, answer) -> httpx.Response:
        return await visitor.visit(f"{ORIGIN}/oauth/callback?{httpx.QueryParams(answer)}")

    def tokens(self, user: str):
        record = StoredAt(self.store, "b", URL, user).load()
        return None if record is None else record.tokens


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    return Gateway(tmp_path, monkeypatch)


async def test_a_user_logs_in_and_out_for_themselves_alone(gateway):
    visitor = await gateway.come("alice")
    assert "You have not logged in" in visitor.pages[-1].text
    answer = await gateway.begin(visitor)
    assert "id.example.com" in visitor.pages[-1].text
    assert (await gateway.come_back(visitor, answer)).status_code == 200
    assert gateway.tokens("alice").access == "t1"
    assert gateway.tokens("bob") is None
    assert gateway.tokens("") is None
    page = await visitor.visit(PAGE)
    assert "You have logged in" in page.text
    await visitor.submit(decision="forget")
    assert gateway.tokens("alice") is None
    whats = [event.what for event in gateway.events]
    assert whats == [What.BACKEND_LOGIN, What.BACKEND_LOGOUT]
    assert {event.subject for event in gateway.events} == {"alice"}


async def test_whoever_opens_the_page_logs_in_for_themselves(gateway):
    """The address that one user is given makes nothing of another's login (phishing)."""
    bob = await gateway.come("bob")
    assert (await gateway.come_back(bob, await gateway.begin(bob))).status_code == 200
    assert gateway.tokens("bob") is not None
    assert gateway.tokens("alice") is None


async def test_what_one_browser_began_no_other_can_finish(gateway):
    alice, bob = await gateway.come("alice"), await gateway.come("bob")
    answer = await gateway.begin(alice)
    assert (await gateway.come_back(bob, answer)).status_code == 400
    assert (await gateway.come_back(gateway.visitor(), answer)).status_code == 400
    assert gateway.tokens("alice") is None
    assert gateway.tokens("bob") is None
    assert (await gateway.come_back(alice, answer)).status_code == 200


async def test_nobody_gets_past_the_login_of_the_gateway(gateway):
    visitor = gateway.visitor()
    page = await visitor.visit(PAGE)
    assert 'type="password"' in page.text
    assert gateway.world.asked == []
    wrong = await visitor.submit(username="alice", password="wrong")
    assert wrong.status_code == 403
    form = {"decision": "connect", "token": "x"}
    answer = await visitor.client.post(PAGE, data=form)
    assert answer.status_code == 403
    assert gateway.world.asked == []


async def test_a_form_of_another_browser_does_nothing(gateway):
    alice, bob = await gateway.come("alice"), await gateway.come("bob")
    token = re.search(r'name="token" value="([^"]+)"', bob.pages[-1].text)[1]
    answer = await alice.client.post(PAGE, data={"decision": "connect", "token": token})
    assert answer.status_code == 403
    assert gateway.world.asked == []


async def test_a_form_that_was_forged_or_says_a_thing_twice_is_refused_and_written_down(gateway):
    alice = await gateway.come("alice")
    gateway.audit.clear()
    forged = await alice.client.post(PAGE, data={"decision": "connect", "token": "forged"})
    assert (forged.status_code, gateway.audit[-1].what) == (403, What.FORM_REFUSED)
    token = re.search(r'name="token" value="([^"]+)"', alice.pages[-1].text)[1]
    fields = {"decision": ["connect", "forget"], "token": token}
    twice = await alice.client.post(PAGE, data=fields)
    assert (twice.status_code, gateway.audit[-1].what) == (400, What.MALFORMED)
    assert gateway.world.asked == []


@pytest.mark.parametrize("name", ["shared", "other", "b%2Fc", "%3Cscript%3E"])
async def test_there_is_a_page_only_for_what_users_have_for_themselves(gateway, name):
    visitor = gateway.visitor()
    await visitor.visit(f"{ORIGIN}/oauth/connect/{name}")
    if visitor.pages[-1].status_code == 200:
        await visitor.submit(username="alice", password=PASSWORD)
    assert visitor.pages[-1].status_code == 404
    assert "<script>" not in visitor.pages[-1].text


async def test_who_may_not_use_a_backend_cannot_log_in_there(gateway):
    gateway.refused.add("bob")
    visitor = gateway.visitor()
    await visitor.visit(PAGE)
    page = await visitor.submit(username="bob", password=PASSWORD)
    assert page.status_code == 404


async def test_a_login_that_is_not_possible_is_told(gateway):
    gateway.world.pages.clear()
    visitor = await gateway.come("alice")
    page = await visitor.submit(decision="connect")
    assert page.status_code == 502
    assert "No login is possible at b" in page.text


async def test_what_was_refused_is_not_stored(gateway):
    visitor = await gateway.come("alice")
    gateway.world.pages[TOKEN] = (400, {"error": "invalid_grant"})
    assert (await gateway.come_back(visitor, await gateway.begin(visitor))).status_code == 400
    assert gateway.tokens("alice") is None
