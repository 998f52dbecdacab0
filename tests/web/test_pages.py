"""The pages behind a proxy that speaks TLS: what the cookie and the headers promise."""

from __future__ import annotations

import httpx
import pytest

from onemcp.auth._scopes import parse_scopes
from onemcp.auth.server import Person
from onemcp.web import Pages
from onemcp.web._wording import describe
from tests.auth.server.conftest import ISSUER, REDIRECT, World
from tests.support.pages import Wire
from tests.support.passwords import hashed
from tests.support.person import Person as Visitor

PASSWORD = "correct horse"


@pytest.fixture
def world(tmp_path) -> World:
    world = World(tmp_path / "state")
    people = {"ada": Person(name="ada", password=hashed(PASSWORD))}
    world.server = world.start(people=people)
    return world


@pytest.fixture
def visitor(world: World) -> Visitor:
    return Visitor(transport=Wire(Pages(lambda _: ISSUER, world.server)))


def address(world: World, **changes: str) -> str:
    fields = dict(world.asked(redirect_uri=REDIRECT, **changes)._fields)
    return f"{ISSUER}/oauth/authorize?{httpx.QueryParams(fields)}"


async def test_a_login_over_https_counts_for_the_next_request_too(world: World, visitor: Visitor):
    page = await visitor.visit(address(world))
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-onemcp=")
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    before = visitor.client.cookies["__Host-onemcp"]
    page = await visitor.submit(username="ada", password=PASSWORD)
    assert "It may" in page.text
    assert visitor.client.cookies["__Host-onemcp"] != before, "nobody can have set it before"
    page = await visitor.visit(address(world, state="other"))
    assert "It may" in page.text
    answer = await visitor.submit(decision="allow")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{REDIRECT}?code=")
    assert answer.text == "", "the code is in the address only"


async def test_who_is_revoked_or_removed_has_to_log_in_again(world: World, visitor: Visitor):
    await visitor.visit(address(world))
    await visitor.submit(username="ada", password=PASSWORD)
    world.server.policy = world.start(people={}).policy
    page = await visitor.visit(address(world))
    assert "It may" not in page.text
    assert "Nobody can log in" in page.text


async def test_an_agreement_to_nothing_is_none(world: World, visitor: Visitor):
    await visitor.visit(address(world))
    await visitor.submit(username="ada", password=PASSWORD)
    answer = await visitor.submit(decision="allow", scope="")
    assert "error=access_denied" in answer.headers["location"]


async def test_too_many_attempts_are_told_when_to_come_back(world: World, visitor: Visitor):
    await visitor.visit(address(world))
    for _ in range(10):
        page = await visitor.submit(username="ada", password="x")
    page = await visitor.submit(username="ada", password=PASSWORD)
    assert page.status_code == 429
    assert int(page.headers["retry-after"]) >= 1


async def test_who_leaves_a_form_too_long_logs_in_again(world: World, visitor: Visitor):
    await visitor.visit(address(world))
    consent = await visitor.submit(username="ada", password=PASSWORD)
    visitor.client.cookies.clear()
    visitor.pages.append(consent)
    page = await visitor.submit(decision="allow")
    assert page.status_code == 403


async def test_a_page_that_is_none_is_told_plainly(visitor: Visitor):
    page = await visitor.visit(f"{ISSUER}/oauth/none")
    assert page.status_code == 404
    assert "There is no such page" in page.text
    style = await visitor.visit(f"{ISSUER}/oauth/style.css")
    assert style.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("mcp", "Use everything: all tools, resources and prompts of all servers"),
        ("backend:a:read", "Use all that the server a offers, without changing anything"),
        ("tag:a", "Use all that is tagged a"),
        ("view:a", "Use all that the view a shows"),
        ("tool:a/b*", "Call the tools b* of the server a"),
    ],
)
def test_scopes_are_told_in_words(scope: str, words: str):
    [parsed] = parse_scopes([scope])
    assert describe(parsed) == words
