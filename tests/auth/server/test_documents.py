"""Clients that are described by a document: what is fetched, believed, and remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth.server import OAuthError, TooManyRequests, server_metadata
from onemcp.auth.server._documents import (
    LEAST_FRESH,
    MAX_BYTES,
    MAX_KNOWN,
    MOST_FRESH,
    Documents,
    fresh_for,
)
from onemcp.outbound import Answer, AnswerTooLarge, NotPublic, Unreachable
from tests.auth.server.conftest import ADDRESS, ISSUER, World

URL = "https://client.example/metadata.json"
DOCUMENT = {"client_id": URL, "client_name": "C", "redirect_uris": ["https://client.example/cb"]}


class Web:
    """Everybody's Internet."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.asked: list[str] = []
        self.headers = {"content-type": "application/json"}
        self.status = 200
        self.body: bytes | None = None
        self.error: Exception | None = None
        self.gate = trio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self.documents = Documents(self.get, lambda: self.now)

    async def get(self, url: str, *, max_body: int, patience: float) -> Answer:
        assert max_body == MAX_BYTES
        assert 0 < patience < 30
        self.asked.append(url)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        body = (
            json.dumps(DOCUMENT | {"client_id": url}).encode() if self.body is None else self.body
        )
        return Answer(self.status, httpx.Headers(self.headers), body)


@pytest.fixture
def web() -> Web:
    return Web()


async def test_a_document_is_fetched_once_while_it_is_fresh(web: Web):
    web.headers["cache-control"] = "max-age=600"
    for _ in range(3):
        assert (await web.documents(URL)).redirect_uris == ("https://client.example/cb",)
    web.now += 599
    await web.documents(URL)
    assert web.asked == [URL]
    web.now += 1
    await web.documents(URL)
    assert web.asked == [URL] * 2


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-8")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, LEAST_FRESH),
        ({"cache-control": "max-age=1000"}, 1000),
        ({"cache-control": 'public, MAX-AGE="1000"'}, 1000),
        ({"cache-control": "max-age=1000", "age": "400"}, 600),
        ({"cache-control": "max-age=1000, s-maxage=2000"}, 2000),
        ({"cache-control": "no-store"}, LEAST_FRESH),
        ({"cache-control": "max-age=1000, no-cache"}, LEAST_FRESH),
        ({"cache-control": "max-age=-1"}, LEAST_FRESH),
        ({"cache-control": "max-age=99999999999999999999"}, MOST_FRESH),
        (
            {
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
                "expires": "Sun, 22 Nov 2026 11:00:00 GMT",
            },
            3600,
        ),
        ({"expires": "0", "date": "x"}, LEAST_FRESH),
    ],
)
def test_documents_are_believed_as_long_as_http_says_within_bounds(headers, seconds):
    assert fresh_for(httpx.Headers(headers)) == seconds


@given(st.dictionaries(st.sampled_from(["cache-control", "age", "expires", "date"]), st.text()))
def test_whatever_http_says_the_bounds_hold(headers):
    assert LEAST_FRESH <= fresh_for(headers) <= MOST_FRESH


@pytest.mark.requirement(
    "basic/authorization/client-registration#implementation-requirements-7",
    "basic/authorization/client-registration#implementation-requirements-10",
)
@pytest.mark.parametrize(
    "changes",
    [
        {"status": 404},
        {"status": 302},
        {"status": 206},
        {"headers": {"content-type": "text/html"}},
        {"headers": {"content-type": "application/jsonp"}},
        {"headers": {}},
        {"body": b"<html>"},
        {"body": b"[]"},
        {"body": b""},
        {"body": b"\xff"},
        {"body": b"[" * 15_000},
        {"body": json.dumps(DOCUMENT | {"client_id": URL + "/"}).encode()},
        {"body": json.dumps(DOCUMENT | {"client_id": None}).encode()},
        {"body": json.dumps(DOCUMENT | {"client_name": 5}).encode()},
        {"body": json.dumps(DOCUMENT | {"redirect_uris": []}).encode()},
        {"body": json.dumps(DOCUMENT | {"redirect_uris": ["javascript:x"]}).encode()},
        {"body": json.dumps(DOCUMENT | {"client_secret": "x"}).encode()},
        {"body": json.dumps(DOCUMENT | {"token_endpoint_auth_method": "private_key_jwt"}).encode()},
        {"error": NotPublic("it leads to this machine or a private network")},
        {"error": AnswerTooLarge("it answers with more than 16384 bytes")},
    ],
    ids=str,
)
async def test_what_describes_no_client_is_refused_and_not_remembered(web: Web, changes):
    for name, value in changes.items():
        setattr(web, name, value)
    for _ in range(2):
        with pytest.raises(OAuthError) as refused:
            await web.documents(URL)
        assert (refused.value.code, refused.value.status) == ("invalid_client", 400)
        assert refused.value.description.isascii()
    assert len(web.asked) == 2


async def test_more_specific_json_is_json(web: Web):
    web.headers = {"content-type": "application/oauth-client+json; charset=utf-8"}
    assert (await web.documents(URL)).name == "C"


async def test_a_client_whose_document_is_away_is_to_come_back(web: Web):
    web.error = Unreachable("it doesn't answer in time")
    with pytest.raises(OAuthError) as refused:
        await web.documents(URL)
    assert (refused.value.code, refused.value.status) == ("temporarily_unavailable", 503)
    web.error = None
    await web.documents(URL)


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-11")
@pytest.mark.parametrize(
    "client_id",
    [
        "https://client.example",
        "https://client.example/",
        "http://client.example/x",
        "http://localhost/x",
        "https://user@client.example/x",
        "https://client.example/x#y",
        "https://client.example/../x",
        "https://client.example/%2e/x",
        "https://client.example:x/y",
        "https://clïent.example/x",
        "https://client.example/x y",
        "https:///x",
        "https://[::1]/x",
        "https://" + "x" * 3000,
    ],
)
async def test_an_address_that_is_no_id_is_not_fetched(web: Web, client_id):
    with pytest.raises(OAuthError):
        await web.documents(client_id)
    assert not web.asked


async def test_those_who_ask_at_once_share_one_fetch(web: Web):
    web.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(web.documents, URL)
        await trio.testing.wait_all_tasks_blocked()
        web.gate.set()
    assert web.asked == [URL]


async def test_who_goes_away_leaves_the_fetch_to_the_next(web: Web):
    web.gate = trio.Event()
    found = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await web.documents(URL))

    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()
        nursery.start_soon(ask, first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        web.gate.set()
    assert len(found) == 1
    assert web.asked == [URL] * 2


async def test_few_are_fetched_at_once_and_the_rest_waits(web: Web):
    web.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(15):
            nursery.start_soon(web.documents, f"{URL}?{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert web.most_at_once == 4
        web.gate.set()
    assert len(web.asked) == 15
    assert web.most_at_once == 4


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-11")
async def test_what_is_fetched_and_remembered_is_bounded(web: Web):
    for number in range(20):
        await web.documents(f"{URL}?{number}")
    with pytest.raises(TooManyRequests):
        await web.documents(f"{URL}?one=more")
    for number in range(40):
        await web.documents(f"https://{number}.example/x")
    with pytest.raises(TooManyRequests):
        await web.documents("https://client.example.com/x")
    assert len(web.asked) == 60
    web.headers["cache-control"] = "max-age=86400"
    for number in range(2 * MAX_KNOWN):
        web.now += 5
        await web.documents(f"{URL}?again={number}")
    assert repr(web.documents) == f"<{MAX_KNOWN} documents>"


@pytest.mark.requirement(
    "basic/authorization/client-registration#implementation-requirements-6",
    "basic/authorization/client-registration#implementation-requirements-9",
    "basic/authorization/index#overview-2",
)
async def test_a_described_client_is_let_in_where_the_operator_wants_it(web: Web, tmp_path: Path):
    world = World(tmp_path / "state")
    fields: dict[str, Any] = {"client_id": URL, "redirect_uri": "https://client.example/cb"}
    assert "client_id_metadata_document_supported" not in server_metadata(
        ISSUER, world.server.policy
    )
    world.server = world.start(fetch_client=web.documents)
    with pytest.raises(OAuthError, match="unknown"):
        await world.code(**fields)
    assert not web.asked
    world.server = world.start(fetch_client=web.documents, documents=True)
    metadata = server_metadata(ISSUER, world.server.policy)
    assert metadata["client_id_metadata_document_supported"] is True
    code = await world.code(**fields)
    tokens = await world.redeem(code, **fields)
    assert world.principal(tokens["access_token"]).client_id == URL
    assert "refresh_token" not in tokens, "it has not asked for any"
    elsewhere = fields | {"redirect_uri": "https://other.example/cb"}
    with pytest.raises(OAuthError, match="redirect URI"):
        await world.server.begin(world.asked(**elsewhere), ISSUER, ADDRESS)
    assert web.asked == [URL]
