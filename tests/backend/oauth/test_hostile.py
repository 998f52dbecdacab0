"""Authorization servers that mean harm: where they would have onemcp go, and what they say."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
import trio

from onemcp import outbound
from onemcp.backend.oauth import Challenge, Fetcher, NotNow, OAuthError, begin_login
from onemcp.backend.oauth._fetch import PATIENCE
from onemcp.config import AuthorizationCodeLogin, Tls
from onemcp.outbound import fetching
from tests.backend.oauth.world import ISSUER, PRM, REDIRECT, REGISTER, SERVER, URL, World
from tests.backend.oauth.world import server_metadata as metadata

HOME, ID = "mcp.example.com", "id.example.com"
PUBLIC, OTHER, PRIVATE = "93.184.216.34", "93.184.216.35", "10.0.0.7"


class Names(trio.abc.HostnameResolver):
    """Resolves names as a test says; each name may lead elsewhere each time."""

    def __init__(self, **names) -> None:
        self.names = {name.replace("_", "."): [*to] for name, to in names.items()}
        self.asked: list[str] = []

    async def getaddrinfo(self, host, port, *_rest, **_more):
        name = host.decode() if isinstance(host, bytes) else host
        await trio.lowlevel.checkpoint()
        self.asked.append(name)
        to = self.names[name]
        found = to.pop(0) if len(to) > 1 else to[0]
        return [(2, 1, 6, "", (each, port)) for each in found.split()]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.fixture
def connected(monkeypatch):
    """Note where connections go, and let them succeed."""
    went: list[tuple[str, ...]] = []

    async def fetch(request, addresses, context, *, max_body):
        del request, context, max_body
        await trio.lowlevel.checkpoint()
        went.append(tuple(map(str, addresses)))
        return outbound.Answer(200, SimpleNamespace(get_list=lambda _: []), b"{}")  # type: ignore[arg-type]

    monkeypatch.setattr(fetching, "fetch", fetch)
    return went


async def get(names: Names, url: str = f"https://{ID}/x", home: str = URL) -> None:
    trio.socket.set_custom_hostname_resolver(names)
    await Fetcher(Tls(), home).get(url)


async def test_an_authorization_server_on_the_internet_is_asked(connected):
    await get(Names(mcp_example_com=[PUBLIC], id_example_com=[OTHER]))
    assert connected == [(OTHER,)]


@pytest.mark.parametrize("leads_to", [PRIVATE, "127.0.0.1", "::1", "169.254.169.254"])
async def test_a_name_that_leads_inside_is_not_asked_on_behalf_of_a_backend_outside(
    connected, leads_to
):
    with pytest.raises(OAuthError, match="private network"):
        await get(Names(mcp_example_com=[PUBLIC], id_example_com=[leads_to]))
    assert connected == []


async def test_one_address_inside_is_one_too_many(connected):
    with pytest.raises(OAuthError, match="private network"):
        await get(Names(mcp_example_com=[PUBLIC], id_example_com=[f"{OTHER} {PRIVATE}"]))
    assert connected == []


async def test_what_was_looked_at_is_what_is_connected_to(connected):
    names = Names(mcp_example_com=[PUBLIC], id_example_com=[OTHER, PRIVATE])
    await get(names)
    assert connected == [(OTHER,)]
    assert names.asked == [ID]


async def test_a_backend_inside_may_have_its_authorization_server_there(connected):
    await get(Names(mcp_example_com=[PRIVATE], id_example_com=["10.0.0.8"]))
    assert connected == [("10.0.0.8",)]


async def test_the_operator_may_have_a_backend_anywhere(connected):
    await get(Names(mcp_example_com=[PRIVATE]), f"https://{HOME}/.well-known/x")
    assert connected == [(PRIVATE,)]


async def test_one_that_says_nothing_is_not_waited_for(autojump_clock, monkeypatch):
    async def fetch(*_args, **_more):
        await trio.sleep_forever()

    monkeypatch.setattr(fetching, "fetch", fetch)
    monkeypatch.setattr(outbound, "resolve", partial(_resolved, PUBLIC))
    started = trio.current_time()
    with pytest.raises(NotNow, match=r"id\.example\.com didn't answer"):
        await Fetcher(Tls(), URL).get(f"https://{ID}/x")
    assert trio.current_time() - started == PATIENCE


async def _resolved(address, host, port):
    del host, port
    await trio.lowlevel.checkpoint()
    return (ip_address(address),)


def log_in(world: World, **more):
    login = AuthorizationCodeLogin(**more)
    return begin_login(world.flow(), login, REDIRECT, before=None, headers={})


@pytest.mark.parametrize(
    "endpoint",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://id.example.com/a",
        "https://127.0.0.1/a",
        "https://me@id.example.com/a",
        "https://id.example.com/a#b",
        "",
        "x",
    ],
)
async def test_no_browser_is_sent_where_no_browser_should_go(endpoint):
    world = World()
    world.pages[SERVER] = (200, metadata(authorization_endpoint=endpoint))
    with pytest.raises(OAuthError):
        await log_in(world)
    assert REGISTER not in [url for _, url in world.asked]


@pytest.mark.parametrize(
    "document",
    [b"", b"<html>", b"[]", b'"x"', b"\xff\xfe", b"{" * 100_000, b'{"issuer": 1}', b"null"],
)
async def test_what_is_no_metadata_is_none_whoever_says_it(document):
    for where in (SERVER, PRM):
        world = World()
        world.pages[where] = (200, document)
        with pytest.raises(OAuthError):
            await log_in(world)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_metadata_that_is_elsewhere_is_not_followed(status):
    world = World()
    world.pages[SERVER] = (status, metadata())
    with pytest.raises(OAuthError):
        await log_in(world)
    assert {url.split("/")[2] for _, url in world.asked} == {HOME, ID}


async def test_a_backend_cannot_have_its_metadata_fetched_from_inside():
    challenge = Challenge("https://169.254.169.254/latest/meta-data")
    world = World()
    with pytest.raises(OAuthError):
        await world.flow().discover(challenge, None)
    assert world.asked == []


async def test_metadata_of_another_issuer_leads_nowhere():
    world = World()
    world.pages[SERVER] = (200, metadata("https://evil.example.com"))
    with pytest.raises(OAuthError, match="another issuer"):
        await log_in(world)
    assert all("evil" not in url for _, url in world.asked)


@pytest.mark.parametrize("answer", [{"client_id": ""}, {"client_id": 1}, {}, [], "x"])
async def test_a_registration_that_says_nothing_is_none(answer):
    world = World()
    world.pages[REGISTER] = (201, answer)
    with pytest.raises(OAuthError):
        await log_in(world)


async def test_what_the_issuer_is_called_stays_what_it_was_when_the_browser_comes_back():
    pending = await log_in(World())
    answer = {"state": [pending.authorization.state], "code": ["c"], "iss": [ISSUER + "/"]}
    with pytest.raises(OAuthError, match="another authorization server"):
        await pending.finish(World().flow(), "b", answer)
