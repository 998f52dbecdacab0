"""One login that several processes use: a refresh token is good once, whoever has it."""

from __future__ import annotations

import contextlib
import json
import os
from urllib.parse import parse_qs

import pytest
import trio

from onemcp.backend.oauth import (
    Challenge,
    LoginNeeded,
    LoginRecord,
    LoginStore,
    NotNow,
    Registration,
    StoredAt,
    StoredLogin,
    Tokens,
)
from onemcp.backend.oauth._fetch import Fetched
from onemcp.backend.oauth._stored import CLAIM_PATIENCE
from onemcp.state import Keyring
from tests.backend.oauth.world import ISSUER, TOKEN, URL, World

LIMIT = 30


class Rotating(World):
    """An authorization server that ends the login when it sees a refresh token twice.

    Attributes:
        current: The one refresh token that is good; None after that.
        reused: Whether one was seen twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current: str | None = "r0"
        self.reused = False
        self.delay = 0.01

    async def _send(self, request):
        await super()._send(request)
        (used,) = parse_qs(request.content.decode())["refresh_token"]
        if used != self.current:
            self.current, self.reused = None, True
            return Fetched(400, "", b'{"error": "invalid_grant"}')
        number = len(self.forms)
        self.current = f"r{number}"
        answer = {"access_token": f"t{number}", "token_type": "Bearer", "expires_in": 600}
        answer["refresh_token"] = self.current
        return Fetched(200, "", json.dumps(answer).encode())


def place_in(directory) -> StoredAt:
    return StoredAt(LoginStore(directory, Keyring([b"k" * 32])), "b", URL)


def put(place: StoredAt, access: str = "t0", refresh: str | None = "r0") -> None:
    tokens = Tokens(access, refresh, 1000.0, 600.0)
    record = LoginRecord("b", URL, URL, TOKEN, Registration(ISSUER, "me"), tokens)
    place.change(lambda _: record)


@pytest.fixture
def place(tmp_path):
    put(place_in(tmp_path))
    return place_in(tmp_path)


def gateway(world: World, place: StoredAt) -> StoredLogin:
    return StoredLogin(place, world.flow(), lambda _: None, lambda: 1000.0)


async def test_two_gateways_never_use_a_refresh_token_twice(place):
    world = Rotating()
    gateways = [gateway(world, place) for _ in range(4)]
    with trio.fail_after(LIMIT):
        for _ in range(3):
            used = [await each.token() for each in gateways]
            async with trio.open_nursery() as nursery:
                for each, token in zip(gateways, used, strict=True):
                    nursery.start_soon(each.renew, token, Challenge())
    assert not world.reused
    assert len(world.forms) == 3
    assert {await each.token() for each in gateways} == {"t3"}


async def test_a_login_that_is_over_ends_for_all_with_one_question(place):
    world = Rotating()
    world.current = None
    gateways = [gateway(world, place) for _ in range(3)]
    for each in gateways:
        await each.token()
    for each in gateways:
        for _ in range(3):
            with contextlib.suppress(LoginNeeded):
                await each.renew("t0", Challenge())
    assert len(world.forms) == 1
    assert [await each.token() for each in gateways] == [None] * 3


async def test_a_login_made_meanwhile_wins_over_a_renewal(place):
    world = Rotating()
    login = gateway(world, place)
    await login.token()
    answer = world._send

    async def log_in_meanwhile(request):
        put(place, "fresh", "f0")
        return await answer(request)

    world._send = log_in_meanwhile  # type: ignore[method-assign]
    assert await login.renew("t0", Challenge())
    assert await login.token() == "fresh"


async def test_a_renewal_that_has_begun_is_not_cut_short(place):
    world = Rotating()
    login = gateway(world, place)
    await login.token()
    asked, answer = trio.Event(), trio.Event()
    respond = world._send

    async def slow(request):
        asked.set()
        await answer.wait()
        return await respond(request)

    world._send = slow  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(login.renew, "t0", Challenge())
        await asked.wait()
        nursery.cancel_scope.cancel()
        answer.set()
    record = place.load()
    assert record is not None
    assert record.tokens is not None
    assert record.tokens.refresh == "r1"


async def test_whoever_renews_for_too_long_is_not_waited_for(place, autojump_clock):
    world = Rotating()
    login = gateway(world, place)
    await login.token()
    claim = place.claim()
    assert claim is not None
    started = trio.current_time()
    with pytest.raises(NotNow, match="another process"):
        await login.renew("t0", Challenge())
    assert CLAIM_PATIENCE <= trio.current_time() - started < CLAIM_PATIENCE + 1
    os.close(claim)
    assert world.forms == []


def test_one_alone_has_the_claim(place):
    claim = place.claim()
    assert claim is not None
    assert place.claim() is None
    os.close(claim)
    claim = place.claim()
    assert claim is not None
    os.close(claim)
