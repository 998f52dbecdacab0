"""Sealed texts: what was sealed comes back, and nothing else is taken for it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onemcp.state import Keyring, SealBroken, Sealer, is_sealed
from onemcp.state._sealing import MAGIC


class Thing(msgspec.Struct, frozen=True, array_like=True):
    name: str
    data: bytes = b""


KEY = bytes(range(32))
SEALER = Sealer(Keyring([KEY]), "things", Thing)
OTHER = Sealer(Keyring([bytes(32)]), "things", Thing)
SAMPLE = Thing("ada", b"lovelace" * 4)
things = st.builds(Thing, st.text(), st.binary())


def refused(sealer: Sealer[Thing], text: str) -> bool:
    with pytest.raises(SealBroken):
        sealer.open(text)
    return True


@given(things)
def test_what_was_sealed_comes_back(thing: Thing):
    sealed = SEALER.seal(thing)
    assert SEALER.owns(sealed)
    assert is_sealed(sealed)
    assert SEALER.open(sealed) == thing


@pytest.mark.requirement("client/elicitation#statefulness-2")
@given(st.text(min_size=12))
def test_sealing_hides_and_never_repeats_itself(secret: str):
    first, second = SEALER.seal(Thing(secret)), SEALER.seal(Thing(secret))
    assert first != second
    assert secret not in first
    assert set(first) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(things, things)
def test_a_stable_sealer_gives_equal_things_equal_texts(one: Thing, other: Thing):
    stable = Sealer(Keyring([KEY]), "stable", Thing, is_stable=True)
    assert stable.seal(one) == stable.seal(one)
    assert (stable.seal(one) == stable.seal(other)) == (one == other)
    assert stable.open(stable.seal(one)) == one


@pytest.mark.requirement(
    "basic/patterns/mrtr#server-requirements-basic-workflow-3",
    "basic/patterns/mrtr#server-requirements-basic-workflow-4",
    "client/elicitation#statefulness-2",
)
@given(st.data())
def test_changing_any_character_breaks_the_seal(data):
    sealed = SEALER.seal(SAMPLE)
    index = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters().filter(lambda each: each != sealed[index]))
    assert refused(SEALER, sealed[:index] + other + sealed[index + 1 :])


@given(st.text())
def test_adding_anything_breaks_the_seal(more: str):
    assume(more)
    assert refused(SEALER, SEALER.seal(SAMPLE) + more)


@given(st.data())
def test_cutting_anything_off_breaks_the_seal(data):
    sealed = SEALER.seal(SAMPLE)
    assert refused(SEALER, sealed[: data.draw(st.integers(0, len(sealed) - 1))])


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-3")
@given(st.text())
def test_anything_else_is_not_sealed(text: str):
    assume(not text.startswith(MAGIC))
    assert not SEALER.owns(text)
    assert not is_sealed(text)
    assert refused(SEALER, text)


def test_what_another_key_has_sealed_is_another_onemcps():
    sealed = OTHER.seal(SAMPLE)
    assert is_sealed(sealed)
    assert not SEALER.owns(sealed)
    assert refused(SEALER, sealed)
    ours = SEALER.seal(SAMPLE)
    grafted = ours[: ours.rindex(".") + 1] + sealed[sealed.rindex(".") + 1 :]
    assert SEALER.owns(grafted)
    assert refused(SEALER, grafted)


def test_what_serves_one_purpose_opens_for_no_other():
    letters = Sealer(Keyring([KEY]), "letters", Thing)
    sealed, ours = letters.seal(SAMPLE), SEALER.seal(SAMPLE)
    assert not SEALER.owns(sealed)
    assert refused(SEALER, sealed)
    assert refused(SEALER, ours[: ours.rindex(".")] + sealed[sealed.rindex(".") :])


def test_the_newest_key_seals_and_all_open():
    rotated = Sealer(Keyring([bytes(32), KEY]), "things", Thing)
    assert rotated.open(SEALER.seal(SAMPLE)) == SAMPLE
    assert OTHER.open(rotated.seal(SAMPLE)) == SAMPLE
    assert refused(SEALER, rotated.seal(SAMPLE))


def test_the_same_key_opens_it_in_another_process():
    assert Sealer(Keyring([KEY]), "things", Thing).open(SEALER.seal(SAMPLE)) == SAMPLE


def test_what_is_too_long_is_not_looked_into():
    sealed = SEALER.seal(SAMPLE)
    size = len(sealed)
    assert Sealer(Keyring([KEY]), "things", Thing, limit=size).open(sealed) == SAMPLE
    assert refused(Sealer(Keyring([KEY]), "things", Thing, limit=size - 1), sealed)


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, KEY[:31]]])
def test_a_keyring_without_proper_keys_is_none(keys):
    with pytest.raises(ValueError, match="sealing key"):
        Keyring(keys)


def test_ephemeral_keys_differ():
    assert Keyring.ephemeral() != Keyring.ephemeral()


def test_nothing_shows_a_key():
    assert repr(SEALER) == "<Sealer of things, 1 keys>"
    assert repr(Keyring([KEY])) == "Keyring()"


def test_what_decrypts_but_is_of_another_kind_is_refused():
    numbers = Sealer(Keyring([KEY]), "things", int)
    assert refused(SEALER, numbers.seal(1))
