"""Rotating keys: whatever is rotated and issued when, nobody is logged out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth import (
    InvalidToken,
    KeyStore,
    Resource,
    SigningKey,
    TokenVerifier,
    issue_token,
    renewed,
    rotated,
)
from onemcp.auth import is_due as due
from onemcp.auth._keys import ANNOUNCED_SECONDS, MAX_KEYS
from onemcp.auth._rotation import LONGEST_SECONDS
from onemcp.config._auth import DAY

NOW = 1_800_000_000.0
HERE = Resource("http://127.0.0.1:8722", "/mcp")


def issue(keys: KeyStore, now: float, lifetime: float) -> str:
    return issue_token(
        keys, subject="ada", lifetime=lifetime, audience=HERE.uri, issuer=HERE.origin, now=now
    )


def lets_in(keys: KeyStore, token: str, now: float) -> bool:
    try:
        TokenVerifier(keys, skew=0).verify(token, now, HERE)
    except InvalidToken:
        return False
    return True


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3 * DAY),  # until the next thing happens
            st.sampled_from(["rotate", "a short token", "a long token"]),
        ),
        max_size=25,
    )
)
def test_whatever_still_counts_is_verified(story):
    keys, now = KeyStore([SigningKey.generate(int(NOW))]), NOW
    issued: list[tuple[str, float, float]] = []  # token, when, until when
    remembered: list[tuple[float, float]] = []
    for pause, what in story:
        now += pause
        if what == "rotate":
            keys = rotated(keys, now, [at for at, until in remembered if now < until])
        else:
            lifetime = LONGEST_SECONDS if what == "a short token" else 20 * DAY
            issued.append((issue(keys, now, lifetime), now, now + lifetime))
            if what == "a long token":
                remembered.append((now, now + lifetime))
        assert all(lets_in(keys, token, now) for token, _, until in issued if now < until - 1)
    # Once nothing counts any more, one rotation leaves the newest and the one before.
    later = now + 30 * DAY
    assert len(rotated(keys, later, []).keys) <= 2


def test_a_new_key_is_announced_before_it_signs():
    old = KeyStore([SigningKey.generate(int(NOW))])
    new = rotated(old, NOW + DAY, [])
    assert new.newest not in old.keys
    assert new.signer(NOW + DAY) is old.newest
    assert new.signer(NOW + DAY + ANNOUNCED_SECONDS) is new.newest
    assert lets_in(old, issue(new, NOW + DAY, 60), NOW + DAY), "who has not seen it yet"


def test_the_first_key_signs_at_once_even_if_clocks_differ():
    keys = KeyStore([SigningKey.generate(int(NOW) + 500)])
    assert keys.signer(NOW) is keys.newest
    after = rotated(keys, NOW, [])
    assert after.newest.created >= keys.newest.created
    assert after.newest not in keys.keys


def test_keys_of_which_somebody_has_a_copy_verify_nothing():
    old = KeyStore([SigningKey.generate(int(NOW))])
    token = issue(old, NOW, 60)
    new = renewed(NOW)
    assert not lets_in(new, token, NOW)
    assert lets_in(new, issue(new, NOW, 60), NOW)


def test_keys_are_bounded_and_the_operator_is_told_what_to_do():
    keys, issued = KeyStore([SigningKey.generate(int(NOW))]), []
    for day in range(MAX_KEYS - 1):
        issued.append(NOW + day * 2 * DAY)
        keys = rotated(keys, NOW + (day + 1) * 2 * DAY, issued)
    with pytest.raises(ValueError, match="onemcp token list"):
        rotated(keys, NOW, issued)


def test_age_counts_from_when_the_newest_was_made():
    keys = KeyStore([SigningKey.generate(int(NOW)), SigningKey.generate(int(NOW) - 5 * DAY)])
    assert not due(keys, NOW + DAY - 1, DAY)
    assert due(keys, NOW + DAY, DAY)
    assert not due(keys, NOW + 1000 * DAY, 0)
