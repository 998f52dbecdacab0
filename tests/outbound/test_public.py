"""Documents that strangers have named: where they are not fetched from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio

from onemcp.outbound import Answer, NotPublic, Unreachable, public
from onemcp.outbound.public import PublicInternet

PUBLIC = "93.184.216.34"


class Names(trio.abc.HostnameResolver):
    """Tells where names lead, each time the next of what it was told."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        return [(0, 0, 0, "", (address, port)) for address in self.answers.pop(0)]

    async def getnameinfo(self, *_: Any) -> Any:
        raise AssertionError


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    async def fetch(request: httpx.Request, addresses: Any, *_: Any, **options: Any) -> Answer:
        calls.append((str(request.url), [str(each) for each in addresses], options))
        await trio.lowlevel.checkpoint()
        return Answer(200, httpx.Headers(), b"{}")

    monkeypatch.setattr(public, "fetch", fetch)
    return calls


async def get(url: str) -> Answer:
    return await PublicInternet().get(url, max_body=10, patience=5)


@pytest.mark.requirement(
    "basic/authorization/security-considerations#authorization-server-abuse-protection-1"
)
async def test_what_was_checked_is_connected_to_and_nothing_is_asked_twice(fetched):
    names = Names([PUBLIC, "2606:2800:220:1::1"], ["127.0.0.1"])
    trio.socket.set_custom_hostname_resolver(names)
    assert (await get("https://client.example/x")).body == b"{}"
    assert fetched == [
        ("https://client.example/x", [PUBLIC, "2606:2800:220:1::1"], {"max_body": 10})
    ]
    assert names.asked == ["client.example"], "a name that leads elsewhere by now leads nowhere"


@pytest.mark.requirement(
    "basic/authorization/client-registration#implementation-requirements-11",
    "basic/authorization/security-considerations#client-id-metadata-document-security-1",
    "basic/authorization/security-considerations#authorization-server-abuse-protection-1",
)
@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fd00:ec2::254"],
        ["::ffff:169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        [PUBLIC, "192.168.0.1"],
    ],
    ids=",".join,
)
async def test_a_name_that_leads_inside_is_not_asked(fetched, addresses):
    trio.socket.set_custom_hostname_resolver(Names(addresses))
    with pytest.raises(NotPublic, match="private network"):
        await get("https://client.example/x")
    assert not fetched


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/x",
        "https://user@client.example/x",
        "ftp://client.example/x",
        "file:///etc/passwd",
        "//client.example/x",
        "https://[::1/x",
        "x",
    ],
)
async def test_only_https_is_asked_and_nobody_is_named(fetched, url):
    with pytest.raises(NotPublic):
        await get(url)
    assert not fetched


@pytest.mark.requirement(
    "basic/authorization/security-considerations#authorization-server-abuse-protection-1"
)
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f000001", "127.1"])
async def test_an_address_inside_is_none_however_it_is_written(fetched, host):
    with pytest.raises(NotPublic):
        await get(f"https://{host}/x")
    assert not fetched


async def test_who_says_nothing_is_given_up(monkeypatch, autojump_clock):
    async def fetch(*_: Any, **__: Any) -> Answer:
        return await trio.sleep_forever()

    monkeypatch.setattr(public, "fetch", fetch)
    resolver = public.PublicInternet()
    resolver._context = object()  # made in a thread, which the clock doesn't wait for
    trio.socket.set_custom_hostname_resolver(Names([PUBLIC]))
    with pytest.raises(Unreachable, match="in time"):
        await resolver.get("https://client.example/x", max_body=10, patience=5)
    assert trio.current_time() == 5
