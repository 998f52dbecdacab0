"""Every scope, operation, era and transport: what is not granted is out of reach, and unheard of.

A token is good for one scope of each kind. Whoever may ask for more is told which scope is lacking;
whoever may not learns what they would of something that does not exist.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Final, Protocol

import attrs
import pytest
import trio

from onemcp import config
from onemcp.auth import Gate, Scope, parse_scopes
from onemcp.backend import Exchange
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from tests.frontend.site import (
    HEADERS,
    Answer,
    Client,
    Site,
    modern_headers,
    notification,
    open_site,
    request,
    with_meta,
)
from tests.frontend.test_views import INITIALIZE, STREAM, Scopes, bearer
from tests.multiplexer.fakes import Server, resource, template, tool
from tests.multiplexer.test_views import arrange

READS = {"annotations": {"readOnlyHint": True}}
VIEW = config.View(
    name="some",
    backends=["one", "two"],
    tools=config.WordedPatterns(allow=["one/get", "two/put"]),
    prompts=config.WordedPatterns(allow=["one/*"]),
    resources=config.Patterns(allow=["x://one/*"]),
)

OF_BACKEND: Final = ("get", "put", "prompt", "resource", "template")
ALL: Final = frozenset(product(("one", "two"), OF_BACKEND))
SCOPES: Final = {
    "mcp": ALL,
    "mcp:read": frozenset(each for each in ALL if each[1] != "put"),
    "backend:one": frozenset(each for each in ALL if each[0] == "one"),
    "backend:two:read": frozenset(each for each in ALL if each[0] == "two" and each[1] != "put"),
    "tag:second": frozenset(each for each in ALL if each[0] == "two"),
    "tag:second:read": frozenset(each for each in ALL if each[0] == "two" and each[1] != "put"),
    "view:some": frozenset(
        {("two", "put"), *(("one", each) for each in OF_BACKEND if each != "put")}
    ),
    "view:some:read": frozenset(("one", each) for each in OF_BACKEND if each != "put"),
    "tool:one/g*": frozenset({("one", "get")}),
    "tool:two/put,tool:one/put": frozenset({("one", "put"), ("two", "put")}),
    "view:nowhere": frozenset(),
    "nonsense": frozenset(),
}
"""What each lets its bearer see, as pairs of a backend and a thing."""

LISTED: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
CHANGES: Final = {
    "notifications/tools/list_changed": {"get", "put"},
    "notifications/prompts/list_changed": {"prompt"},
    "notifications/resources/list_changed": {"resource", "template"},
}
FILTER: Final = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": True,
}
UPDATED: Final = "notifications/resources/updated"
DOORS: Final = ("modern", "legacy", "sse")


def shown(backend: str, thing: str) -> str:
    """Return what a thing is called at ``/mcp``."""
    match thing:
        case "resource":
            return f"x://{backend}/1"
        case "template":
            return f"x://{backend}/t/{{id}}"
    return f"{backend}__{thing}"


def operations(backend: str, thing: str, door: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every request that leads to a thing."""
    name = shown(backend, thing)
    match thing:
        case "get" | "put":
            yield "tools/call", {"name": name, "arguments": {}}
        case "prompt":
            yield "prompts/get", {"name": name}
            yield "completion/complete", completing({"type": "ref/prompt", "name": name})
        case "resource":
            yield "resources/read", {"uri": name}
            if door != "modern":
                yield "resources/subscribe", {"uri": name}
        case "template":
            yield "resources/read", {"uri": name.replace("{id}", "7")}
            yield "completion/complete", completing({"type": "ref/resource", "uri": name})


def completing(ref: dict[str, str]) -> dict[str, Any]:
    return {"ref": ref, "argument": {"name": "id", "value": ""}}


def needed(backend: str, thing: str) -> str:
    return f"tool:{backend}/{thing}" if thing in {"get", "put"} else f"backend:{backend}:read"


def server(name: str) -> Server:
    return Server(
        name,
        tools=[tool("get", **READS), tool("put")],
        prompts=[{"name": "prompt"}],
        resources=[resource(f"x://{name}/1")],
        resourceTemplates=[template(f"x://{name}/t/{{id}}")],
    )


def know(server: Server) -> None:
    """Let a server read what is its own, and nothing else."""

    def read(exchange: Exchange) -> None:
        exchange.finish(Response(exchange.id, raw({"contents": [], "resultType": "complete"})))

    server.handlers["resources/read"] = read


@asynccontextmanager
async def site(attainable: str = "") -> AsyncIterator[tuple[Site, dict[str, Server]]]:
    one, two = server("one"), server("two")
    two.config = attrs.evolve(two.config, tags=["second"])
    for each in (one, two):
        know(each)
    could = parse_scopes(attainable.split(","))

    def could_have(_: object) -> frozenset[Scope]:
        return could

    gate = Gate(
        mode="local",
        verifier=Scopes(),  # type: ignore[arg-type]
        own_issuer=True,
        attainable=could_have,
    )
    async with open_site(one, two, gate=gate) as opened:
        arrange(opened.world, VIEW)
        yield opened, {"one": one, "two": two}


class Peer(Protocol):
    """A client by some door, with one token."""

    async def ask(self, method: str, params: dict[str, Any]) -> Answer | dict[str, Any]:
        """Return the message that answers, or the HTTP response that refuses."""

    async def listen(self, uris: list[str]) -> Client:
        """Hear of everything."""

    async def fence(self) -> None:
        """Let what is heard come to an end, or to a message that is no notification."""


@attrs.define
class Modern:
    site: Site
    scopes: str
    path: str = "/mcp"

    async def ask(self, method: str, params: dict[str, Any]) -> Answer | dict[str, Any]:
        message = with_meta(request(method, params))
        headers = modern_headers(message) | bearer(self.scopes)
        answer = await self.site.ask("POST", self.path, headers, message)
        return answer if answer.status == 403 else answer.json

    async def listen(self, uris: list[str]) -> Client:
        client = await self.site.connect()
        wanted = {"notifications": {**FILTER, "resourceSubscriptions": uris}}
        message = with_meta(request("subscriptions/listen", wanted))
        await client.begin("POST", "/mcp", modern_headers(message) | bearer(self.scopes), message)
        await client.stream_begins()
        assert (await client.message())["method"].endswith("acknowledged")
        return client

    async def fence(self) -> None:
        self.site.application.multiplexer.stop()


@attrs.define
class Legacy:
    site: Site
    scopes: str
    headers: dict[str, str]

    async def ask(self, method: str, params: dict[str, Any]) -> Answer | dict[str, Any]:
        answer = await self.site.ask("POST", "/mcp", self.headers, request(method, params))
        return answer if answer.status == 403 else answer.json

    async def listen(self, uris: list[str]) -> Client:
        for uri in uris:
            await self.ask("resources/subscribe", {"uri": uri})
        client = await self.site.connect()
        await client.begin("GET", "/mcp", self.headers | STREAM)
        await client.stream_begins()
        prime = await client.event()
        assert prime is not None
        assert not prime.data
        return client

    async def fence(self) -> None:
        self.site.application.multiplexer.stop()


@attrs.define
class Sse:
    site: Site
    scopes: str
    path: str
    stream: Client
    ids: int = 1

    async def ask(self, method: str, params: dict[str, Any]) -> Answer | dict[str, Any]:
        self.ids += 1
        message = request(method, params, self.ids)
        answer = await self.site.ask("POST", self.path, HEADERS | bearer(self.scopes), message)
        if answer.status == 403:
            return answer
        while (received := await self.stream.message()).get("id") != self.ids:
            pass
        return received

    async def listen(self, uris: list[str]) -> Client:
        for uri in uris:
            await self.ask("resources/subscribe", {"uri": uri})
        return self.stream

    async def fence(self) -> None:
        ping = request("ping", None, 0)
        await self.site.ask("POST", self.path, HEADERS | bearer(self.scopes), ping)


async def enter(site: Site, door: str, scopes: str) -> Peer | None:
    """Come in by a door; None where a token doesn't even open that."""
    if door == "modern":
        modern = Modern(site, scopes)
        return None if isinstance(await modern.ask("server/discover", {}), Answer) else modern
    if door == "legacy":
        headers = HEADERS | bearer(scopes)
        answer = await site.ask("POST", "/mcp", headers, request("initialize", INITIALIZE))
        if answer.status == 403:
            return None
        return Legacy(site, scopes, headers | {"mcp-session-id": answer.headers["mcp-session-id"]})
    stream = await site.connect()
    await stream.begin("GET", "/sse", STREAM | bearer(scopes))
    head = await stream.head()
    if head.status_code == 403:
        return None
    endpoint = await stream.event()
    assert endpoint is not None
    peer = Sse(site, scopes, endpoint.data.decode(), stream)
    assert not isinstance(await peer.ask("initialize", INITIALIZE), Answer)
    await site.ask(
        "POST", peer.path, HEADERS | bearer(scopes), notification("notifications/initialized")
    )
    return peer


@pytest.mark.requirement(
    "basic/authorization/index#step-up-authorization-flow-4",
    "index#implementation-guidelines-1",
    "server/resources#security-considerations-2",
    "server/resources#security-considerations-4",
    "server/tools#security-considerations-1",
    "server/utilities/caching#security-considerations-2",
    "server/utilities/caching#security-considerations-3",
    "server/utilities/completion#security-1",
)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scopes", SCOPES)
async def test_what_is_not_granted_is_neither_listed_nor_reached(door: str, scopes: str):
    granted = SCOPES[scopes]
    async with site() as (at, servers):
        peer = await enter(at, door, scopes)
        assert (peer is None) == (not granted)
        if peer is None:
            return
        listed = set()
        for method, key in LISTED.items():
            answer = await peer.ask(method, {})
            assert isinstance(answer, dict)
            for item in answer.get("result", {}).get(key, ()):
                listed.add(item.get("uri") or item.get("uriTemplate") or item["name"])
        assert listed == {shown(*each) for each in granted}
        for backend, thing in ALL:
            for method, params in operations(backend, thing, door):
                for each in servers.values():
                    each.calls.clear()
                answer = await peer.ask(method, params)
                assert isinstance(answer, dict), "nobody is told of what they can't have"
                is_granted = (backend, thing) in granted
                if method == "resources/subscribe":
                    assert (params["uri"] in servers[backend].subscribed) == is_granted
                else:
                    assert bool(servers[backend].calls) == is_granted, (method, params)
                if thing in {"get", "put", "prompt"}:
                    assert ("result" in answer) == is_granted


@pytest.mark.parametrize("scopes", SCOPES)
@pytest.mark.parametrize("endpoint", ["one", "some"])
async def test_an_endpoint_shows_what_is_granted_of_its_own(endpoint: str, scopes: str):
    its_own = SCOPES["view:some"] if endpoint == "some" else SCOPES["backend:one"]
    granted = SCOPES[scopes] & its_own
    async with site() as (at, servers):
        peer = Modern(at, scopes, f"/mcp/{endpoint}")
        if isinstance(await peer.ask("server/discover", {}), Answer):
            assert not granted
            return
        prefixed = endpoint == "some"
        listed = set()
        for method, key in LISTED.items():
            answer = await peer.ask(method, {})
            assert isinstance(answer, dict)
            for item in answer.get("result", {}).get(key, ()):
                listed.add(item.get("uri") or item.get("uriTemplate") or item["name"])
        names = {each: shown(*each) for each in ALL}
        if not prefixed:
            names = {each: name.removeprefix("one__") for each, name in names.items()}
        assert listed == {names[each] for each in granted}
        for backend, thing in ALL:
            for method, params in operations(backend, thing, "modern"):
                for each in servers.values():
                    each.calls.clear()
                sent = json.loads(
                    json.dumps(params).replace(shown(backend, thing), names[backend, thing])
                )
                assert isinstance(await peer.ask(method, sent), dict)
                is_granted = (backend, thing) in granted
                assert bool(servers[backend].calls) == is_granted, (method, sent)


@pytest.mark.requirement("server/resources#security-considerations-2")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scopes", [scopes for scopes in SCOPES if SCOPES[scopes]])
async def test_what_is_not_granted_is_not_heard_of(door: str, scopes: str):
    granted = SCOPES[scopes]
    async with site() as (at, servers):
        peer = await enter(at, door, scopes)
        assert peer is not None
        stream = await peer.listen(["x://one/1", "x://two/1"])
        for name, each in servers.items():
            assert (f"x://{name}/1" in each.subscribed) == ((name, "resource") in granted)
        for name, each in servers.items():
            each.announce(UPDATED, uri=f"x://{name}/1")
            for kind in each.lists:
                each.lists[kind] = []
            for change in CHANGES:
                each.announce(change)
            await trio.testing.wait_all_tasks_blocked()
        told = []
        await peer.fence()
        while (message := await stream.message()) is not None and "method" in message:
            told.append(message)
        updated = {each["params"]["uri"] for each in told if each["method"] == UPDATED}
        assert updated == {shown(*each) for each in granted if each[1] == "resource"}
        changed = {each["method"] for each in told} - {UPDATED}
        things = {thing for _, thing in granted}
        assert changed == {method for method in CHANGES if CHANGES[method] & things}


@pytest.mark.requirement(
    "basic/authorization/index#scope-selection-strategy-5",
    "basic/authorization/index#runtime-insufficient-scope-errors-1",
    "basic/authorization/index#runtime-insufficient-scope-errors-2",
    "basic/authorization/index#runtime-insufficient-scope-errors-4",
)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scopes", [scopes for scopes in SCOPES if SCOPES[scopes]])
async def test_who_may_ask_for_more_is_told_what_is_lacking(door: str, scopes: str):
    granted = SCOPES[scopes]
    async with site("mcp") as (at, servers):
        peer = await enter(at, door, scopes)
        assert peer is not None
        for backend, thing in ALL - granted:
            for method, params in operations(backend, thing, door):
                answer = await peer.ask(method, params)
                assert isinstance(answer, Answer), (method, params)
                challenge = answer.headers["www-authenticate"]
                assert 'error="insufficient_scope"' in challenge
                assert f'scope="{needed(backend, thing)}"' in challenge
                assert "resource_metadata=" in challenge
        for name in ("one__nothing", "nobody__put"):
            assert "error" in await peer.ask("tools/call", {"name": name, "arguments": {}})
        assert not any(each.calls for each in servers.values())


@pytest.mark.requirement("basic/authorization/index#runtime-insufficient-scope-errors-5")
async def test_nobody_is_told_of_more_than_they_can_have():
    async with site("backend:one:read,view:some") as (at, _):
        peer = await enter(at, "modern", "tool:one/put")
        assert peer is not None
        told = {}
        for backend, thing in ALL:
            for method, params in operations(backend, thing, "modern"):
                answer = await peer.ask(method, params)
                if isinstance(answer, Answer):
                    told[backend, thing] = answer.headers["www-authenticate"]
        hers = SCOPES["view:some"]
        assert set(told) == hers
        assert 'scope="view:some"' in told["two", "put"]
        assert 'scope="backend:one:read"' in told["one", "get"]


@pytest.mark.requirement("basic/authorization/index#runtime-insufficient-scope-errors-3")
async def test_a_batch_is_told_all_that_it_lacks():
    async with site("mcp") as (at, servers):
        opening = {**INITIALIZE, "protocolVersion": "2025-03-26"}
        headers = HEADERS | bearer("tag:second")
        answer = await at.ask("POST", "/mcp", headers, request("initialize", opening))
        headers |= {"mcp-session-id": answer.headers["mcp-session-id"]}
        calls = [
            request("tools/call", {"name": f"{name}__put"}, name) for name in ("two", "one", "no")
        ]
        reading = request("resources/read", {"uri": "x://one/1"}, 4)
        batch = [*calls, reading, {"id": "malformed"}]
        answer = await at.ask("POST", "/mcp", headers, batch)
        assert answer.status == 403
        assert 'scope="backend:one:read tool:one/put"' in answer.headers["www-authenticate"]
        assert not any(each.calls for each in servers.values())


async def test_what_names_nothing_lacks_nothing():
    async with site("mcp") as (at, _):
        peer = await enter(at, "legacy", "tool:one/get")
        assert peer is not None
        for method, params in (
            ("tools/call", {"name": 7}),
            ("completion/complete", completing({"type": "ref/other", "name": "one__prompt"})),
            ("completion/complete", {"ref": []}),
            ("resources/read", {"uri": "x://nowhere"}),
        ):
            assert "error" in await peer.ask(method, params)


async def test_a_name_that_no_scope_can_say_is_opened_by_the_next_wider_one():
    async with site("mcp") as (at, servers):
        servers["one"].lists["tools"] = [tool("a b"), tool("a*", **READS)]
        servers["one"].announce("notifications/tools/list_changed")
        await trio.testing.wait_all_tasks_blocked()
        peer = await enter(at, "modern", "backend:two")
        assert peer is not None
        for name, scope in (("a b", "backend:one"), ("a*", "backend:one:read")):
            answer = await peer.ask("tools/call", {"name": f"one__{name}", "arguments": {}})
            assert isinstance(answer, Answer)
            assert f'scope="{scope}"' in answer.headers["www-authenticate"]
