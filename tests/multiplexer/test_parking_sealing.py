"""Sealed states: what was sealed comes back, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.multiplexer import sealing
from onemcp.multiplexer.sealing import (
    MAX_STATE,
    SealBroken,
    Sealer,
    State,
    fingerprint,
    is_onemcps,
    question_digest,
)
from onemcp.protocol.fields import raw

KEY = bytes(range(32))
SEALER = Sealer(KEY)
OTHER = Sealer(bytes(32))
digests = st.binary(min_size=32, max_size=32)
states = st.builds(
    State,
    principal=st.text(),
    request=digests,
    expires=st.floats(allow_nan=False),
    instance=st.text(),
    call=st.text(),
    round=st.integers(0, 100),
    asked=st.dictionaries(st.text(), digests),
    given=st.lists(st.tuples(digests, st.binary())),
)
SAMPLE = State("ada", b"r" * 32, 1.0, "here", "call", 1, {"roots-1": b"q" * 32}, [(b"q", b"{}")])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(states)
def test_what_was_sealed_comes_back(state: State):
    sealed = SEALER.seal(state)
    assert SEALER.owns(sealed)
    assert is_onemcps(sealed)
    assert SEALER.open(sealed) == state


@given(st.text(min_size=12))
def test_sealing_hides_and_never_repeats_itself(secret: str):
    state = State(secret, b"", 0.0, "here", "call", 1)
    first, second = SEALER.seal(state), SEALER.seal(state)
    assert first != second
    assert secret not in first
    assert set(first) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(st.data())
def test_changing_any_character_breaks_the_seal(data):
    sealed = SEALER.seal(SAMPLE)
    index = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters().filter(lambda each: each != sealed[index]))
    with pytest.raises(SealBroken):
        SEALER.open(sealed[:index] + other + sealed[index + 1 :])


@given(st.text())
def test_adding_anything_breaks_the_seal(more: str):
    assume(more)
    with pytest.raises(SealBroken):
        SEALER.open(SEALER.seal(SAMPLE) + more)


@given(st.data())
def test_cutting_anything_off_breaks_the_seal(data):
    sealed = SEALER.seal(SAMPLE)
    length = data.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(SealBroken):
        SEALER.open(sealed[:length])


@given(st.text())
def test_anything_else_is_nobodys_state(text: str):
    assume(not text.startswith(sealing.MAGIC))
    assert not SEALER.owns(text)
    assert not is_onemcps(text)
    with pytest.raises(SealBroken):
        SEALER.open(text)


def test_a_state_of_another_key_is_another_onemcps():
    sealed = OTHER.seal(SAMPLE)
    assert is_onemcps(sealed)
    assert not SEALER.owns(sealed)
    with pytest.raises(SealBroken):
        SEALER.open(sealed)
    ours = SEALER.seal(SAMPLE)
    grafted = ours[: ours.rindex(".") + 1] + sealed[sealed.rindex(".") + 1 :]
    assert SEALER.owns(grafted)
    with pytest.raises(SealBroken):
        SEALER.open(grafted)


def test_the_same_key_opens_it_in_another_process():
    assert Sealer(KEY).open(SEALER.seal(SAMPLE)) == SAMPLE


def test_what_is_too_long_is_not_looked_into():
    with pytest.raises(SealBroken):
        SEALER.open(SEALER.seal(State("a" * MAX_STATE, b"", 0.0, "", "", 0)))


def test_a_short_key_is_none():
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")


def test_a_sealer_shows_no_secret():
    assert repr(SEALER).startswith("<Sealer onemcp1.")
    assert KEY.hex() not in repr(SEALER)


def test_what_decrypts_but_is_no_state_is_refused(monkeypatch):
    monkeypatch.setattr(sealing.msgspec.msgpack, "encode", lambda _: b"\x01")
    sealed = SEALER.seal(SAMPLE)
    with pytest.raises(SealBroken):
        SEALER.open(sealed)


# --- what makes a request the same -------------------------------------------------------------


def params(**members: Any) -> dict[str, Raw]:
    return {key: raw(value) for key, value in members.items()}


@given(json_values, st.randoms())
def test_the_order_of_members_makes_no_difference(value: Any, random):
    def shuffled(each: Any) -> Any:
        if isinstance(each, dict):
            pairs = [(key, shuffled(inner)) for key, inner in each.items()]
            random.shuffle(pairs)
            return dict(pairs)
        return [shuffled(inner) for inner in each] if isinstance(each, list) else each

    one = {"name": raw("t"), "arguments": raw(value)}
    other = {"arguments": Raw(json.dumps(shuffled(value), indent=1).encode()), "name": raw("t")}
    assert fingerprint(None, "tools/call", one) == fingerprint(None, "tools/call", other)


@given(json_values, json_values)
def test_other_arguments_make_another_request(one: Any, other: Any):
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    digest = fingerprint(None, "tools/call", params(arguments=one))
    assert digest != fingerprint(None, "tools/call", params(arguments=other))


@pytest.mark.parametrize(
    ("endpoint", "method", "members"),
    [
        ("alpha", "tools/call", {"name": "t", "arguments": {}}),
        (None, "prompts/get", {"name": "t", "arguments": {}}),
        (None, "tools/call", {"name": "u", "arguments": {}}),
        (None, "tools/call", {"name": "t"}),
        (None, "tools/call", {"uri": "t", "arguments": {}}),
    ],
)
def test_everything_salient_counts(endpoint, method, members):
    one = fingerprint(None, "tools/call", params(name="t", arguments={}))
    assert one != fingerprint(endpoint, method, params(**members))


def test_what_a_retry_adds_does_not_count():
    more = params(name="t", _meta={"a": 1}, requestState="s", inputResponses={}, unheardOf=1)
    assert fingerprint(None, "m", more) == fingerprint(None, "m", params(name="t"))


def test_what_is_nested_too_deeply_is_told_apart_all_the_same():
    deep = [Raw(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":%d}' % n) for n in (1, 2)]
    assert question_digest("m", deep[0]) != question_digest("m", deep[1])
    assert question_digest("m", Raw(b'{"a":1, "b":2}')) == question_digest(
        "m", Raw(b'{"b":2,"a":1}')
    )
