"""The sealing keys in the state directory."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from onemcp.state import Sealer, StateError, load_keyring, load_or_create_keyring


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def jwk(letter: str = "A", **changes: Any) -> dict[str, Any]:
    key = {"kty": "oct", "use": "enc", "iat": 5, "k": letter * 43}
    return {name: value for name, value in (key | changes).items() if value is not None}


def written(path: Path, *keys: Any) -> Path:
    path.touch(mode=0o600)
    path.write_text(json.dumps({"keys": keys}))
    return path


def test_the_first_start_makes_a_key_and_later_ones_find_it(state: Path):
    first = load_or_create_keyring(state)
    assert load_or_create_keyring(state) == first == load_keyring(state / "sealing.json")
    assert len(first.keys) == 1
    assert stat.S_IMODE((state / "sealing.json").stat().st_mode) == 0o600
    assert load_or_create_keyring(state.with_name("other")) != first


def test_the_newest_key_seals_and_of_equals_the_last(tmp_path: Path):
    old, new, last = jwk("A", iat=1), jwk("E", iat=3), jwk("I", iat=3)
    keyring = load_keyring(written(tmp_path / "keys.json", last | {"iat": 0}, new, old))
    sealer = Sealer(keyring, "p", int)
    only_new = load_keyring(written(tmp_path / "new.json", new))
    assert Sealer(only_new, "p", int).open(sealer.seal(1)) == 1
    for name, key in (("old", old), ("last", last)):
        other = Sealer(load_keyring(written(tmp_path / f"{name}.json", key)), "p", int)
        assert sealer.open(other.seal(2)) == 2
    equals = Sealer(load_keyring(written(tmp_path / "equals.json", new, last)), "p", int)
    only_last = load_keyring(tmp_path / "last.json")
    assert Sealer(only_last, "p", int).open(equals.seal(3)) == 3


SECRET = jwk("Q")["k"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not JSON"),
        ("[" * 50_000, "not JSON"),
        ("[]", 'no list of "keys"'),
        ('{"keys": 1}', 'no list of "keys"'),
        (json.dumps({"keys": []}), "1 to 32 keys"),
        (json.dumps({"keys": [jwk("Q")] * 33}), "1 to 32 keys"),
        (json.dumps({"keys": [jwk("Q"), jwk(kty="OKP")]}), "key 2 is not a symmetric key"),
        (json.dumps({"keys": [7]}), "key 1 is not a symmetric key"),
        (json.dumps({"keys": [jwk("Q", iat=None)]}), 'no proper "iat"'),
        (json.dumps({"keys": [jwk("Q", iat=True)]}), 'no proper "iat"'),
        (json.dumps({"keys": [jwk("Q", iat=-1)]}), 'no proper "iat"'),
        (json.dumps({"keys": [jwk(k=None)]}), 'no proper "k"'),
        (json.dumps({"keys": [jwk(k="Q")]}), 'no proper "k"'),
        (json.dumps({"keys": [jwk(k="é" * 43)]}), 'no proper "k"'),
        (json.dumps({"keys": [jwk(k="Q" * 1000)]}), 'no proper "k"'),
        (json.dumps({"keys": [jwk(k="Q" * 42)]}), "less than 32 bytes"),
        (json.dumps({"keys": [jwk("Q")]})[:-5], "not JSON"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_its_secrets_are_not_shown(
    state: Path, content: str, complaint: str
):
    state.mkdir(mode=0o700)
    path = state / "sealing.json"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(StateError) as refused:
        load_or_create_keyring(state)
    message = str(refused.value)
    assert complaint in message
    assert str(path) in message
    assert SECRET not in message
    assert refused.value.__suppress_context__
    assert path.read_text() == content


def test_a_shared_file_that_is_missing_is_not_made(tmp_path: Path):
    path = tmp_path / "shared.json"
    with pytest.raises(StateError, match=r"There is no .*shared\.json, which server.sealingKey"):
        load_keyring(path)
    assert not path.exists()


def test_a_shared_file_that_others_may_read_is_refused(tmp_path: Path):
    path = written(tmp_path / "shared.json", jwk())
    path.chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        load_keyring(path)
