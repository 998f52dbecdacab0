"""Days of logins in a moment: tokens expire, are renewed and revoked, keys age; nothing grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from onemcp.app.audit import AuditLog
from onemcp.app.keys import SigningKeys
from onemcp.auth import issue_token, load_keys
from onemcp.auth.server import OAuthError, _auditfile
from onemcp.auth.server._records import TokenRecord
from onemcp.config import Auth, Configuration
from onemcp.config._auth import DAY
from tests.app.test_keys import write_keys
from tests.auth.server.conftest import ADDRESS, ISSUER, World, claims, form
from tests.support.census import tasks, timers
from tests.support.eventually import eventually

HOUR = 3600
TURN = 2 * HOUR
ROUNDS = 36
"""Three days of them."""

AUDIT_BYTES = 16 * 1024
REGISTRATIONS = 8
APP = b'{"redirect_uris":["http://127.0.0.1/cb"],"client_name":"App"}'


@attrs.define
class Days:
    """An authorization server whose keys age, as time goes by.

    Attributes:
        world: The server, and a client.
        keys: Its keys.
        kept: What the client that comes again and again got last.
    """

    clock: MockClock
    world: World
    keys: SigningKeys
    audit: AuditLog
    kept: dict[str, Any] = attrs.field(factory=dict)

    def take_keys(self) -> None:
        assert self.keys.current is not None
        self.world.keys = self.world.server.keys = self.keys.current

    async def begin(self, nursery: trio.Nursery) -> None:
        auth = Auth(key_lifetime=float(DAY))
        await self.keys.prepare(Configuration(auth=auth))
        self.keys.on_change = self.take_keys
        self.keys.issued = lambda: [
            each.issued for each in self.world.server.ledger.records.tokens.values()
        ]
        self.take_keys()
        await nursery.start(self.keys.run, lambda _: None)

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and keys be rotated that are due."""
        self.world.now += seconds
        self.clock.jump(seconds)
        limit = self.world.now - DAY
        newest = self.keys.current
        assert newest is not None
        if newest.newest.created <= limit:
            await eventually(lambda: self.world.keys.newest.created > limit, "keys are rotated")

    async def issue_for_long(self, days: float) -> str:
        """Issue a token as operators do."""
        world = self.world
        token = issue_token(
            world.keys,
            subject="ada",
            lifetime=days * DAY,
            audience=f"{ISSUER}/mcp",
            issuer=ISSUER,
            now=world.now,
        )
        told = claims(token)
        record = TokenRecord(
            id=told["jti"], subject="ada", scopes=("mcp",), issued=told["iat"], expires=told["exp"]
        )
        await world.server.ledger.change(lambda records: (records.with_token(record), None))
        return token

    async def turn(self, number: int) -> str:
        """Be several clients; return a token that is left to expire."""
        world = self.world
        await world.server.register(APP, ADDRESS)  # and never come again
        lost = await world.log_in("bob")
        await self._come_again(number)
        revoked = await world.log_in()
        kind = ("access_token", "refresh_token")[number % 2]
        await world.server.revoke(form(token=revoked[kind], client_id="app"), None, ADDRESS)
        assert not world.lets_in(revoked["access_token"])
        assert world.lets_in(lost["access_token"])
        return str(lost["access_token"])

    async def _come_again(self, number: int) -> None:
        world, before = self.world, self.kept
        try:
            self.kept = await world.refresh(before["refresh_token"])
        except (KeyError, OAuthError):  # the consent is over
            self.kept = await world.log_in()
        if number % 5 == 4:  # somebody has stolen it
            with pytest.raises(OAuthError):
                await world.refresh(before["refresh_token"])
        assert world.lets_in(self.kept["access_token"]) is (number % 5 != 4)


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock(rate=1.0)


@pytest.fixture
def days(mock_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Days:
    monkeypatch.setattr(_auditfile, "MAX_BYTES", AUDIT_BYTES)
    state = tmp_path / "state"
    world = World(state)
    path = state / "keys.json"
    write_keys(path, world.now)
    world.server = world.start(
        refresh_seconds=6 * HOUR, grant_seconds=12 * HOUR, max_registrations=REGISTRATIONS
    )
    clock = lambda: world.now  # noqa: E731
    keys = SigningKeys(lambda: load_keys(path), state, clock)
    return Days(mock_clock, world, keys, AuditLog(tmp_path / "audit.log", clock))


async def test_nothing_of_logins_grows_in_days(
    days: Days, nursery: trio.Nursery, mock_clock: MockClock, tmp_path: Path
):
    world, state = days.world, tmp_path / "state"
    await days.begin(nursery)
    long = await days.issue_for_long(2)
    expired, sizes, census = "", [], []
    for number in range(ROUNDS):
        left = await days.turn(number)
        assert not world.lets_in(expired)
        expired = left
        assert world.lets_in(long) is (number * TURN <= 2 * DAY)  # clocks may differ
        for event in world.audit:
            days.audit(event)
        world.audit.clear()
        sizes.append((state / "oauth.json").stat().st_size)
        census.append((tasks(), timers()))
        await days.pass_by(TURN)
    # What is kept after a day is kept after three, and no more.
    assert max(sizes[12:]) <= 1.1 * max(sizes[:12])
    assert max(census[12:]) <= max(census[:12])
    assert len(world.keys.keys) <= 4
    audit = [tmp_path / name for name in ("audit.log", "audit.log.1")]
    assert all(each.stat().st_size <= AUDIT_BYTES + 1024 for each in audit)
    lines = [json.loads(line) for each in audit for line in each.read_text().splitlines()]
    assert max(line["time"] for line in lines) == world.now - TURN
    await days.pass_by(3 * DAY)
    await world.log_in()
    await days.pass_by(DAY)
    records = world.server.ledger.records
    assert (len(records.grants), len(records.clients)) == (1, 0)
    assert not records.tokens
    assert not records.revoked
    assert len(world.keys.keys) <= 3  # what has signed, what signs, what is announced
    assert repr(world.server._issuer.codes) == "<1 codes>"
    nursery.cancel_scope.cancel()
