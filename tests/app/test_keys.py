"""Keys that change while the gateway runs: by a command, by age, and by an operator's mistake."""

from __future__ import annotations

import json
import threading
import time

import trio
import trio.testing

from onemcp.app import KeysNotRotated, KeysRotated, KeysUnreadable
from onemcp.app.keys import SigningKeys
from onemcp.auth import (
    KeyStore,
    SigningKey,
    change_keys,
    load_keys,
    load_or_create_keys,
    new_token,
    renewed,
    rotated,
)
from onemcp.auth._keyfile import _dump
from onemcp.config import Configuration
from onemcp.config._auth import DAY
from tests.app.test_reload import SERVER, serving
from tests.support.eventually import eventually


def write_keys(path, *created: float) -> KeyStore:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    keys = KeyStore([SigningKey.generate(int(at)) for at in created])
    path.write_bytes(_dump(keys))
    path.chmod(0o600)
    return keys


async def test_keys_are_rotated_by_age_and_nobody_is_logged_out(tmp_path):
    path = tmp_path / "state" / "keys.json"
    old = write_keys(path, time.time() - 2 * DAY)
    token = new_token(old, "ada", 60)
    async with serving(tmp_path, auth={"keyLifetime": DAY}) as world:
        await eventually(lambda: bool(world.of(KeysRotated)), "there is a new key")
        assert await world.status(token) == 200
        keys = load_or_create_keys(world.state)
        assert [event.key_id for event in world.of(KeysRotated)] == [keys.newest.key_id]
        assert old.newest.key_id in {key.key_id for key in keys.keys}
        assert await world.status(new_token(KeyStore([keys.newest]), "ada", 60)) == 200


async def test_what_was_read_before_a_rotation_is_not_taken_after_it(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    old = write_keys(path, time.time() - 2 * DAY)
    has_changed = threading.Event()

    def read_slowly(file):
        keys = load_keys(file)
        has_changed.wait(0.2)  # while it reads, nothing may change
        return keys

    def change(file, how):
        keys = change_keys(file, how)
        has_changed.set()
        return keys

    monkeypatch.setattr("onemcp.app.keys.load_keys", read_slowly)
    monkeypatch.setattr("onemcp.app.keys.change_keys", change)
    keys = SigningKeys(lambda: old, tmp_path)
    await keys.prepare(Configuration())
    events = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys._read, None, events.append)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(keys._rotate_now, path, DAY, events.append)
    assert keys.current is not None
    assert [event.key_id for event in events] == [keys.current.newest.key_id]


async def test_what_others_do_to_the_keys_counts_at_once(tmp_path):
    async with serving(tmp_path) as world:
        path = world.state / "keys.json"
        old = load_or_create_keys(world.state)
        token = new_token(old, "ada", 60)
        assert await world.status(token) == 200
        new = change_keys(path, lambda keys: rotated(keys, time.time(), []))

        async def takes(keys: KeyStore) -> bool:
            return await world.status(new_token(KeyStore([keys.newest]), "ada", 60)) == 200

        await eventually(lambda: takes(new), "the new key counts")
        assert await world.status(token) == 200
        path.write_text("{")
        await eventually(lambda: bool(world.of(KeysUnreadable)), "the mistake is told")
        assert "is damaged" in world.of(KeysUnreadable)[0].why
        path.unlink()
        await eventually(lambda: len(world.of(KeysUnreadable)) > 1, "so is that there are none")
        assert "is gone. Put it back" in world.of(KeysUnreadable)[-1].why
        assert not path.exists(), "new ones would end every token"
        assert await world.status(token) == 200
        last = change_keys(path, lambda _: renewed(time.time()))
        await eventually(lambda: takes(last), "the last key counts")
        assert await world.status(token) == 401


async def test_keys_of_an_operator_are_shared_watched_and_left_alone(tmp_path):
    shared = tmp_path / "shared" / "keys.json"
    keys = write_keys(shared, 1)
    token = new_token(keys, "ada", 60)
    auth = {"keyFile": str(shared), "keyLifetime": DAY}
    async with serving(tmp_path, auth=auth) as world:
        assert await world.status(token) == 200
        assert not world.state.exists()
        world.write(server=SERVER)
        await world.reload()
        assert await world.status(token) == 401
        assert await world.status(new_token(load_or_create_keys(world.state), "ada", 60)) == 200
        world.write(server=SERVER, auth=auth)
        await world.reload()
        new = change_keys(shared, lambda old: rotated(old, time.time(), []))

        async def takes() -> bool:
            return await world.status(new_token(KeyStore([new.newest]), "ada", 60)) == 200

        await eventually(takes, "a new key of the operator's counts")
        assert await world.status(token) == 200
        assert not world.of(KeysRotated)
        world.write(server=SERVER, auth={"keyFile": str(tmp_path / "none.json")})
        await world.reload()
        assert await world.status(new_token(new, "ada", 60)) == 200, "all is as it was"


async def test_keys_that_cannot_be_rotated_go_on(tmp_path, monkeypatch):
    path = tmp_path / "state" / "keys.json"
    old = write_keys(path, 1)
    async with serving(tmp_path, auth={"keyLifetime": 0}) as world:
        path.with_suffix(".lock").mkdir()
        world.write(server=SERVER, auth={"keyLifetime": DAY})
        await world.reload()
        await eventually(lambda: bool(world.of(KeysNotRotated)), "it is told")
        assert "Cannot lock" in world.of(KeysNotRotated)[0].why
        assert await world.status(new_token(old, "ada", 60)) == 200
        assert len(json.loads(path.read_text())["keys"]) == 1
