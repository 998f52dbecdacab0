"""Session ids: what they say, to whom, and until when."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.frontend.session.passport import (
    MAX_ID,
    MAX_INFO,
    PURPOSE,
    Passport,
    Passports,
    SessionRefused,
    gist,
    opening_of,
)
from onemcp.frontend.session.terms import Opening
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import plain, raw
from onemcp.protocol.revisions import LEGACY_REVISIONS
from onemcp.state import Keyring, Sealer

KEYS = Keyring([bytes(range(32))])
VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))


@attrs.frozen
class FakeView:
    name: str | None = None


VIEW: Any = FakeView()
OTHER_VIEW: Any = FakeView("alpha")


@attrs.define
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def passports(clock: Clock | None = None, keys: Keyring = KEYS) -> Passports:
    return Passports(keys, clock or Clock())


def opening(**changes: Any) -> Opening:
    base = Opening(VIEW, "ada", "2025-11-25", raw({"roots": {}}), raw({"name": "c"}))
    return attrs.evolve(base, **changes)


def refused(where: Passports, session_id: str, principal: str = "ada", view: Any = VIEW) -> str:
    with pytest.raises(SessionRefused) as error:
        where.read(session_id, principal, view)
    return str(error.value)


@given(
    principal=st.text(max_size=300),
    revision=st.sampled_from(LEGACY_REVISIONS),
    capabilities=st.dictionaries(st.text(max_size=20), st.integers(), max_size=5),
    info=st.none() | st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3),
)
def test_an_id_says_what_the_session_was_opened_with(principal, revision, capabilities, info):
    given_info = None if info is None else raw(info)
    said = Opening(VIEW, principal, revision, raw(capabilities), given_info)
    session_id, _ = passports().issue(said, 60.0)
    passport = passports().read(session_id, principal, VIEW)
    assert opening_of(passport, principal, VIEW) == said
    assert set(session_id) <= VISIBLE
    assert len(session_id) <= MAX_ID


def test_ids_are_unique_and_tell_nothing():
    here = passports()
    said = opening(principal="ada.lovelace@example.com", client_info=raw({"name": "secretive"}))
    first, second = (here.issue(said, 60.0)[0] for _ in range(2))
    assert first != second
    assert "lovelace" not in first
    assert "secretive" not in first


@given(st.data())
def test_an_id_that_is_changed_anywhere_is_none(data):
    session_id, _ = passports().issue(opening(), 60.0)
    index = data.draw(st.integers(0, len(session_id) - 1))
    other = data.draw(st.characters().filter(lambda each: each != session_id[index]))
    changed = session_id[:index] + other + session_id[index + 1 :]
    assert refused(passports(), changed) == "it does not verify"


@given(st.text(max_size=200))
def test_anything_else_is_none(text: str):
    assert refused(passports(), text) == "it does not verify"


def test_an_id_is_of_one_principal_at_one_endpoint():
    session_id, _ = passports().issue(opening(), 60.0)
    for principal, view in (("eve", VIEW), ("ada", OTHER_VIEW), ("", VIEW)):
        assert "another" in refused(passports(), session_id, principal, view)


def test_principals_and_endpoints_are_not_confused():
    other: Any = FakeView("a")
    session_id, _ = passports().issue(opening(principal="b", view=other), 60.0)
    confused: Any = FakeView("ab")
    assert "another" in refused(passports(), session_id, "", confused)


def test_an_id_expires():
    clock = Clock()
    session_id, passport = passports(clock).issue(opening(), 60.0)
    assert passport.expires == clock.now + 60
    clock.now += 59.9
    assert passports(clock).read(session_id, "ada", VIEW) == passport
    clock.now += 0.1
    assert refused(passports(clock), session_id) == "it has expired"


def test_an_id_of_another_key_is_none_and_of_an_older_one_is_good():
    session_id, _ = passports().issue(opening(), 60.0)
    assert refused(passports(keys=Keyring([bytes(32)])), session_id) == "it does not verify"
    rotated = Keyring([bytes(32), *KEYS.keys])
    assert passports(keys=rotated).read(session_id, "ada", VIEW)


def test_what_was_sealed_for_something_else_is_no_id():
    _, passport = passports().issue(opening(), 60.0)
    assert refused(passports(), Sealer(KEYS, "requestState", Passport).seal(passport))
    assert passports().read(Sealer(KEYS, PURPOSE, Passport).seal(passport), "ada", VIEW)


def test_a_revision_that_is_not_spoken_any_more_is_refused():
    session_id, _ = passports().issue(opening(revision="2001-01-01"), 60.0)
    assert "not spoken" in refused(passports(), session_id)


def test_a_client_that_declares_too_much_is_told_so():
    much = raw({"experimental": {"x": "y" * MAX_ID}})
    with pytest.raises(InvalidParams, match=r"capabilities .* too large .* declare less"):
        passports().issue(opening(capabilities=much), 60.0)


def test_of_a_client_that_says_much_about_itself_the_gist_is_kept():
    info = {"name": "c", "version": "1", "title": "C", "icons": [{"src": "data:" + "x" * 5000}]}
    assert plain(gist(raw(info))) == {"name": "c", "version": "1", "title": "C"}
    short = Raw(b'{ "name":"c", "unheardOf":1 }')
    assert gist(short) is short
    with pytest.raises(InvalidParams):
        gist(raw("x" * MAX_INFO))
