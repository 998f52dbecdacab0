"""Keys of authorization servers elsewhere: from files, and from a server that may misbehave."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from functools import partial

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from onemcp.app import Access, KeysFetched, KeysNotFetched
from onemcp.app.issuers import FRESH_SECONDS, RETRY_SECONDS, Issuers
from onemcp.auth import InvalidToken, Resource
from onemcp.config import Auth, Configuration, ConfigurationError, Issuer

NAME = "https://id.example.com"
KEY = Ed25519PrivateKey.generate()
OKP = jwt.get_algorithm_by_name("EdDSA")
JWKS = json.dumps({"keys": [json.loads(OKP.to_jwk(KEY.public_key())) | {"kid": "one"}]}).encode()
HERE = Resource("http://localhost:8722", "/mcp")


def configuration(**issuer) -> Configuration:
    return Configuration(auth=Auth(mode="external", issuers=[Issuer(issuer=NAME, **issuer)]))


def lets_in(access: Access, asked: Configuration) -> bool:
    payload = {"iss": NAME, "aud": HERE.uri, "sub": "ada", "exp": 10_000_000_000}
    token = jwt.encode(payload, KEY, "EdDSA", {"typ": "at+jwt", "kid": "one"})
    verifier = access.gate(asked, ["127.0.0.1"]).verifier
    assert verifier is not None
    try:
        return verifier.verify(token, 1_800_000_000, HERE).subject == "ada"
    except InvalidToken:
        return False


def no_keys():
    raise AssertionError("keys of its own are not needed")


async def test_keys_come_from_a_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_bytes(JWKS)
    asked = configuration(jwks=path)
    access = Access(no_keys)
    await access.prepare(asked)
    assert lets_in(access, asked)


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"x", "it is not JSON"), (b'{"keys":[]}', "none of its keys")],
)
async def test_a_file_that_is_no_use_is_a_mistake_in_the_configuration(tmp_path, content, why):
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why) as refused:
        await Access(no_keys).prepare(configuration(jwks=path))
    assert refused.value.problems[0].path == "auth.issuers[0].jwks"


class Source:
    """A server of keys; `respond` is what it does with each connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0
        self.body = JWKS
        self.head = b"HTTP/1.1 200 OK\r\n"

    async def respond(self, stream: trio.SocketStream) -> None:
        self.asked += 1
        async with stream:
            await stream.receive_some()
            length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(self.body)
            with contextlib.suppress(trio.BrokenResourceError):  # the client has read enough
                await stream.send_all(self.head + length + self.body)


@pytest.fixture
async def source(nursery) -> AsyncIterator[Source]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    found = Source(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/jwks")
    nursery.start_soon(partial(trio.serve_listeners, found.respond, [listener]))
    return found


async def started(nursery, access: Access, on_event: Callable[[object], object]) -> None:
    with trio.fail_after(30):
        await nursery.start(access.issuers.run, on_event)


async def test_keys_are_fetched_before_anybody_is_let_in(nursery, source):
    asked, events = configuration(jwks_url=source.url), []
    access = Access(no_keys)
    access.gate(asked, [])
    assert not source.asked
    await started(nursery, access, events.append)
    assert events == [KeysFetched(NAME, 1)]
    assert lets_in(access, asked)
    assert source.asked == 1


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        (b"HTTP/1.1 500 Oops\r\n", b"", "status 500"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n", b"", "status 302"),
        (b"HTTP/1.1 200 OK\r\n", b"<html>", "not JSON"),
        (b"HTTP/1.1 200 OK\r\n", b" " * 400_000, "more than 262144 bytes"),
        (b"SSH-2.0\r\n", b"", "illegal status line"),
    ],
)
async def test_a_source_that_misbehaves_is_reported_and_holds_nothing_up(
    nursery, source, head, body, why
):
    source.head, source.body = head, body
    asked, events = configuration(jwks_url=source.url), []
    access = Access(no_keys)
    access.gate(asked, [])
    await started(nursery, access, events.append)
    [event] = events
    assert isinstance(event, KeysNotFetched)
    assert why in event.why
    assert not lets_in(access, asked)


async def test_when_keys_are_fetched_again(autojump_clock, monkeypatch, nursery):
    fetched: list[float] = []

    async def download(_url: str) -> bytes:
        fetched.append(trio.current_time())
        return JWKS if len(fetched) > 1 else b"broken"

    monkeypatch.setattr("onemcp.app.jwks.download", download)
    issuers = Issuers()
    asked = configuration(jwks_url=f"{NAME}/jwks")
    [issuer] = issuers.external(asked)
    begin = trio.current_time()
    await nursery.start(issuers.run, lambda _: None)
    await trio.sleep(2 * FRESH_SECONDS)
    first = begin + RETRY_SECONDS  # the first failed
    assert fetched == pytest.approx([begin, first, first + FRESH_SECONDS])
    await trio.sleep(0.5 * FRESH_SECONDS)
    asked_at = trio.current_time()
    assert issuer.keys.find("gone") is None  # what nobody knows is asked for, once in a while
    await trio.sleep(1)
    assert fetched[-1] == pytest.approx(asked_at)
    count = len(fetched)
    for _ in range(10):
        issuer.keys.find("gone")
        await trio.sleep(1)
    assert len(fetched) == count
    await trio.sleep(RETRY_SECONDS)
    assert len(fetched) == count + 1
    issuers.external(Configuration())
    await trio.sleep(10 * FRESH_SECONDS)
    assert len(fetched) == count + 1, "what is no longer configured is not fetched"
