"""Named views and what tokens let their bearers see, by every door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import h11
import pytest

from onemcp import config
from onemcp.auth import Gate, InvalidToken, Principal, Reason, Token, parse_scopes
from onemcp.auth import Resource as AnyResource
from tests.frontend.site import (
    Answer,
    Client,
    Site,
    modern_headers,
    notification,
    open_site,
    request,
    until,
    wait_for,
    with_meta,
)
from tests.multiplexer.fakes import Server, decoded, nothing, resource, tool
from tests.multiplexer.test_views import arrange

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "c", "version": "1"},
}
GETS = config.View(name="gets", backends=["one"], tools=config.WordedPatterns(allow=["get"]))
STREAM = {"accept": "text/event-stream"}
LIST_CHANGED = "notifications/tools/list_changed"


class Scopes:
    """Takes its scopes for a token: ``ada:backend:one,tag:x`` is Ada's.

    Attributes:
        revoked: Whose tokens don't count any more.
    """

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def verify(self, presented: Token, now: float, resource: AnyResource) -> Principal:
        token = presented.text.decode()
        subject, colon, scopes = token.partition(":")
        if not colon or subject in self.revoked:
            raise InvalidToken(Reason.REVOKED)
        return Principal(
            subject=subject,
            scopes=frozenset(scopes.split(",")),
            client_id="c",
            token_id=token,
            expires_at=now + 60,
        )

    def stands(self, principal: Principal) -> bool:
        return principal.subject not in self.revoked


def bearer(scopes: str, subject: str = "ada") -> dict[str, str]:
    return {"authorization": f"Bearer {subject}:{scopes}"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    one = Server(
        "one",
        tools=[tool("get", annotations={"readOnlyHint": True}), tool("put")],
        resources=[resource("x://1")],
    )
    two = Server("two", tools=[tool("run")])
    gate = Gate(mode="local", verifier=Scopes())  # type: ignore[arg-type]
    async with open_site(one, two, gate=gate) as opened:
        arrange(opened.world, GETS)
        yield opened


async def ask(site: Site, scopes: str, path: str, method: str, **params: Any) -> Answer:
    message = with_meta(request(method, params))
    return await site.ask("POST", path, modern_headers(message) | bearer(scopes), message)


async def tools(site: Site, scopes: str, path: str = "/mcp") -> list[str]:
    answer = await ask(site, scopes, path, "tools/list")
    assert answer.status == 200, answer
    return [item["name"] for item in decoded(answer.body)["result"]["tools"]]


async def test_a_view_is_served_at_its_name(site: Site):
    assert await tools(site, "mcp", "/mcp/gets") == ["one__get"]
    assert await tools(site, "mcp", "/mcp/one") == ["get", "put"]
    assert await tools(site, "mcp") == ["one__get", "one__put", "two__run"]
    answer = await ask(site, "mcp", "/mcp/nope", "tools/list")
    assert answer.status == 404
    known = "no such endpoint; there is /mcp, /mcp/one, /mcp/two, /mcp/gets"
    assert decoded(answer.body)["error"]["message"] == known


async def test_scopes_decide_at_every_address(site: Site):
    assert await tools(site, "backend:two") == ["two__run"]
    assert await tools(site, "backend:one:read") == ["one__get"]
    assert await tools(site, "view:gets", "/mcp/one") == ["get"]
    assert await tools(site, "tool:one/p*,backend:two") == ["one__put", "two__run"]
    called = await ask(site, "backend:one:read", "/mcp", "tools/call", name="one__put")
    assert decoded(called.body)["error"]["message"] == "Unknown tool: one__put"
    assert not site.server.calls


async def test_addresses_without_anything_to_see_are_as_those_that_do_not_exist(site: Site):
    for name in ("one", "gets", "nope"):
        answer = await ask(site, "backend:two", f"/mcp/{name}", "tools/list")
        assert answer.status == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        told = decoded(answer.body)["error"]["message"]
        assert told == f"Your access token lacks a scope; ask for backend:{name} view:{name}"
    for scopes in ("openid", "view:nope"):
        for path in ("/mcp", "/mcp/one", "/mcp/nope", "/sse"):
            assert (await ask(site, scopes, path, "tools/list")).status == 403
    assert await tools(site, "backend:gets", "/mcp/gets") == ["one__get"]


# --- sessions --------------------------------------------------------------------------------


class Talk:
    """A legacy session that is used with this token and that."""

    def __init__(self, site: Site, path: str) -> None:
        self.site = site
        self.path = path
        self.headers: dict[str, str] = {}

    async def open(self, scopes: str) -> Talk:
        answer = await self.post(scopes, request("initialize", INITIALIZE))
        self.headers = {"mcp-session-id": answer.headers["mcp-session-id"]}
        return self

    async def post(self, scopes: str, message: Any, subject: str = "ada") -> Answer:
        accepted = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        headers = self.headers | accepted | bearer(scopes, subject)
        return await self.site.ask("POST", self.path, headers, message)

    async def tools(self, scopes: str) -> list[str]:
        answer = await self.post(scopes, request("tools/list"))
        assert answer.status == 200, answer
        return [item["name"] for item in decoded(answer.body)["result"]["tools"]]

    async def listen(self, scopes: str) -> Client:
        client = await self.site.connect()
        await client.begin("GET", self.path, self.headers | STREAM | bearer(scopes))
        await client.stream_begins()
        return client


async def test_a_session_sees_what_the_token_of_each_request_lets_it(site: Site):
    talk = await Talk(site, "/mcp").open("mcp")
    stream = await talk.listen("mcp")
    assert await talk.tools("backend:two") == ["two__run"]
    assert (await stream.message())["method"] == LIST_CHANGED
    assert await talk.tools("mcp") == ["one__get", "one__put", "two__run"]
    assert (await talk.post("backend:two", request("tools/list"), "eve")).status == 404
    called = await talk.post("backend:two", request("tools/call", {"name": "one__put"}))
    assert decoded(called.body)["error"]["message"] == "Unknown tool: one__put"
    await talk.post("backend:two", request("resources/subscribe", {"uri": "x://1"}))
    assert not site.server.subscribed
    assert not site.server.calls


async def test_a_batch_is_served_with_the_rights_that_it_came_with(site: Site):
    opening = {**INITIALIZE, "protocolVersion": "2025-03-26"}
    talk = Talk(site, "/mcp")
    answer = await talk.post("mcp", request("initialize", opening))
    talk.headers = {"mcp-session-id": answer.headers["mcp-session-id"]}
    batch = [request("tools/call", {"name": f"one__{each}"}, each) for each in ("get", "put")]
    answer = await talk.post("backend:one:read", batch)
    assert answer.status == 200
    assert b"Unknown tool: one__put" in answer.body
    assert [exchange.call.method for exchange in site.server.calls] == ["tools/call"]


async def test_a_removed_view_ends_its_sessions_and_streams(site: Site):
    talk = await Talk(site, "/mcp/gets").open("mcp")
    stream = await talk.listen("mcp")
    listening = await site.connect()
    message = with_meta(
        request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    )
    await listening.begin("POST", "/mcp/gets", modern_headers(message) | bearer("mcp"), message)
    await listening.stream_begins()
    assert (await listening.message())["method"] == "notifications/subscriptions/acknowledged"
    arrange(site.world)
    assert (await listening.message())["result"]["resultType"] == "complete"
    assert await listening.message() is None
    assert await stream.message() is None
    await until(lambda: not len(site.sessions))
    assert (await talk.post("mcp", request("tools/list"))).status == 404


async def test_a_changed_view_is_told_on_streams_of_both_eras(site: Site):
    talk = await Talk(site, "/mcp/gets").open("mcp")
    stream = await talk.listen("mcp")
    arrange(site.world, attrs.evolve(GETS, tools=config.WordedPatterns(allow=["*"])))
    assert (await stream.message())["method"] == LIST_CHANGED
    assert await talk.tools("mcp") == ["one__get", "one__put"]


async def test_who_is_not_let_in_any_more_is_sent_away_at_once(site: Site):
    talk = await Talk(site, "/mcp").open("mcp")
    stream = await talk.listen("mcp")
    verifier: Any = site.application.gate.verifier
    verifier.revoked.add("ada")
    site.application.recheck()
    with pytest.raises((h11.RemoteProtocolError, AssertionError)):
        assert await stream.message() is not None
    await until(lambda: not len(site.sessions))


async def test_a_call_of_a_session_whose_owner_is_revoked_is_cancelled_at_its_backend(site: Site):
    site.server.handlers["tools/call"] = nothing
    talk = await Talk(site, "/mcp").open("mcp")
    hers = await Talk(site, "/mcp").open("mcp")
    client = await site.connect()
    call = request("tools/call", {"name": "one__get"})
    accepted = {"content-type": "application/json"} | STREAM
    accepted["accept"] += ", application/json"
    await client.begin("POST", "/mcp", talk.headers | accepted | bearer("mcp"), call)
    await wait_for(site.server)
    client.abort()  # in this era the call goes on without it
    verifier: Any = site.application.gate.verifier
    verifier.revoked.add("ada")
    site.application.recheck()
    await until(lambda: bool(site.server.cancelled))
    await until(lambda: not len(site.sessions))
    verifier.revoked.clear()
    for ended in (talk, hers):
        assert (await ended.post("mcp", request("tools/list"))).status == 404


async def test_whose_rights_change_goes_on_with_those_left(site: Site):
    gate = site.application.gate
    talk = await Talk(site, "/mcp").open("mcp")
    listening = await site.connect()
    wanted = {"notifications": {"toolsListChanged": True}}
    message = with_meta(request("subscriptions/listen", wanted))
    await listening.begin("POST", "/mcp", modern_headers(message) | bearer("mcp"), message)
    await listening.stream_begins()
    assert (await listening.message())["method"] == "notifications/subscriptions/acknowledged"
    stream = await talk.listen("mcp")
    left = parse_scopes(["backend:two"])
    site.application.gate = attrs.evolve(gate, rights=lambda _: left)
    site.application.recheck()
    assert (await listening.message())["method"] == LIST_CHANGED
    assert (await stream.message())["method"] == LIST_CHANGED
    assert await talk.tools("mcp") == ["two__run"]


# --- HTTP+SSE ----------------------------------------------------------------------------------


async def test_messages_of_http_sse_are_served_with_their_own_rights(site: Site):
    stream = await site.connect()
    await stream.begin("GET", "/sse/gets", STREAM | bearer("mcp"))
    await stream.stream_begins()
    endpoint = await stream.event()
    assert endpoint is not None
    talk = Talk(site, endpoint.data)
    await talk.post("mcp", request("initialize", INITIALIZE))
    assert (await stream.message())["result"]["serverInfo"]["name"] == "onemcp"
    await talk.post("mcp", notification("notifications/initialized"))
    await talk.post("mcp", request("tools/list", request_id=2))
    listed = (await stream.message())["result"]["tools"]
    assert [item["name"] for item in listed] == ["one__get"]
    site.server.handlers["tools/call"] = nothing
    call = request("tools/call", {"name": "one__get"}, 3)
    assert (await talk.post("backend:two", call)).status == 404
    await talk.post("tool:one/put,tool:one/g*", request("tools/list", request_id=4))
    while "method" in (message := await stream.message()):
        pass  # it hears that its lists are others with these rights
    assert message["result"]["tools"] == listed
    assert not site.server.calls


async def test_what_the_last_request_of_a_connection_was_allowed_says_nothing_of_the_next(
    site: Site,
):
    page = "https://page.example.com"
    client, message = await site.connect(), with_meta(request("tools/list"))
    headers = modern_headers(message) | bearer("backend:one") | {"origin": page}

    async def names() -> list[str]:
        """Send the same bytes again, and return what is seen; or the status."""
        answer = await client.ask("POST", "/mcp", headers, message)
        if answer.status != 200:
            return [str(answer.status)]
        return [item["name"] for item in decoded(answer.body)["result"]["tools"]]

    gate = site.application.gate = attrs.evolve(site.application.gate, allowed_origins=[page])
    for _ in range(3):
        assert await names() == ["one__get", "one__put"]
    verifier = gate.verifier
    assert isinstance(verifier, Scopes)
    verifier.revoked.add("ada")
    assert await names() == ["401"]
    verifier.revoked.clear()
    assert await names() == ["one__get", "one__put"]
    fewer = attrs.evolve(gate, rights=lambda _: parse_scopes(["backend:two"]))
    site.application.gate = fewer
    assert await names() == ["two__run"]
    site.application.gate = attrs.evolve(fewer, allowed_origins=[])
    assert await names() == ["403"]
