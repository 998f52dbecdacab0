import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from onemcp.auth import (
    KeyStore,
    SigningKey,
    change_keys,
    load_keys,
    load_or_create_keys,
    rotated,
)
from onemcp.auth._keyfile import _dump
from onemcp.auth._keys import MAX_KEYS
from onemcp.state import StateError, _files

CREATE = """
import sys
from pathlib import Path
from onemcp.auth import load_or_create_keys
print("ready", flush=True)
sys.stdin.readline()
print(load_or_create_keys(Path(sys.argv[1])).newest.key_id, flush=True)
"""

DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from onemcp.auth import change_keys, load_or_create_keys, rotated
from onemcp.state import _files

class Dying:
    def __init__(self, file, budget):
        self.file, self.budget = file, budget
    def __enter__(self):
        return self
    def __exit__(self, *args):
        self.file.close()
    def write(self, data):
        os.write(self.file.fileno(), data[:self.budget])
        os.kill(os.getpid(), signal.SIGKILL)

state, budget = Path(sys.argv[1]), int(sys.argv[2])
if budget >= 0:
    def die_writing(file, mode, **options):
        opened = open(file, mode, **options)
        return Dying(opened, budget) if mode == "wb" else opened

    _files.open = die_writing
else:
    _files._sync_directory = lambda directory: os.kill(os.getpid(), signal.SIGKILL)
if (state / "keys.json").exists():
    change_keys(state / "keys.json", lambda keys: rotated(keys, 2_000_000_000, []))
else:
    load_or_create_keys(state)
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


def test_the_first_start_makes_keys_and_later_ones_find_them(state):
    first = load_or_create_keys(state)
    second = load_or_create_keys(state)
    assert first.newest.key_id == second.newest.key_id
    assert (
        first.newest.public.public_bytes_raw()
        == second.newest.private.public_key().public_bytes_raw()
    )
    assert first.newest.created > 1_700_000_000


def test_keys_and_their_directory_are_for_their_owner_only_whatever_the_umask(state):
    before = os.umask(0)
    try:
        load_or_create_keys(state)
    finally:
        os.umask(before)
    assert mode_of(state) == 0o700
    assert {path.name: mode_of(path) for path in state.iterdir()} == {
        "keys.json": 0o600,
        "keys.lock": 0o600,
    }


def test_the_file_is_a_json_web_key_set(state):
    keys = load_or_create_keys(state)
    (jwk,) = json.loads((state / "keys.json").read_text())["keys"]
    assert jwk["kid"] == keys.newest.key_id
    assert {name: jwk[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
    }


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_use_is_refused(state, mode):
    load_or_create_keys(state)
    path = state / "keys.json"
    path.chmod(mode)
    with pytest.raises(StateError) as refused:
        load_or_create_keys(state)
    assert f"chmod 600 {path}" in str(refused.value)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_that_others_may_write_to_is_refused(state, mode):
    load_or_create_keys(state)
    state.chmod(mode)
    with pytest.raises(StateError, match=f"chmod 700 {state}"):
        load_or_create_keys(state)


def jwk(**changes) -> dict:
    (key,) = json.loads(_dump(KeyStore([SigningKey.generate(5)])))["keys"]
    return {name: value for name, value in (key | changes).items() if value is not None}


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


TWICE = jwk()
SECRET = TWICE["d"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (jwks(TWICE)[:-5], "not JSON"),
        (b"[]", 'no list of "keys"'),
        (b'{"keys": {}}', 'no list of "keys"'),
        (jwks(), "1 to 32 keys"),
        (jwks(*(jwk() for _ in range(MAX_KEYS + 1))), "1 to 32 keys"),
        (jwks(TWICE, TWICE), 'the same "kid"'),
        (jwks("key"), "key 1 is not an Ed25519 key"),
        (jwks(TWICE, jwk(kty="RSA")), "key 2 is not an Ed25519 key"),
        (jwks(jwk(crv="Ed448")), "key 1 is not an Ed25519 key"),
        (jwks(jwk(kid=None)), 'no proper "kid"'),
        (jwks(jwk(kid="")), 'no proper "kid"'),
        (jwks(jwk(kid="k" * 129)), 'no proper "kid"'),
        (jwks(jwk(iat=None)), 'no proper "iat"'),
        (jwks(jwk(iat=True)), 'no proper "iat"'),
        (jwks(jwk(iat=-1)), 'no proper "iat"'),
        (jwks(jwk(d=None)), 'no proper "d"'),
        (jwks(jwk(d=SECRET[:-4])), 'no proper "d"'),
        (jwks(jwk(d="é")), 'no proper "d"'),
        (jwks(jwk(d=SECRET)), "do not belong together"),
        (jwks(jwk(x=None)), "do not belong together"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_its_secrets_are_not_shown(state, content, complaint):
    state.mkdir(parents=True, mode=0o700)
    path = state / "keys.json"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StateError) as refused:
        load_or_create_keys(state)
    message = str(refused.value)
    assert complaint in message
    assert str(path) in message
    assert "backup" in message
    assert SECRET not in message
    assert refused.value.__suppress_context__
    assert path.read_bytes() == content


def test_a_file_too_large_for_keys_is_not_read_to_its_end(state):
    state.mkdir(parents=True)
    path = state / "keys.json"
    path.touch(mode=0o600)
    path.write_bytes(b" " * 70_000)
    with pytest.raises(StateError, match="larger than 65536 bytes"):
        load_or_create_keys(state)


def test_a_directory_in_place_of_the_file_is_refused(state):
    (state / "keys.json").mkdir(parents=True)
    with pytest.raises(StateError, match="not a plain file"):
        load_or_create_keys(state)


def test_a_fifo_in_place_of_the_file_does_not_hang_the_start(state):
    state.mkdir(parents=True)
    os.mkfifo(state / "keys.json", 0o600)
    with pytest.raises(StateError, match="not a plain file"):
        load_or_create_keys(state)


def test_a_file_that_links_to_itself_is_refused(state):
    state.mkdir(parents=True)
    (state / "keys.json").symlink_to("keys.json")
    with pytest.raises(StateError, match=r"Cannot read .*keys\.json: "):
        load_or_create_keys(state)


def test_a_read_error_names_the_file(state, monkeypatch):
    load_or_create_keys(state)

    def fail(_path, _status):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_files, "_check_private", fail)
    with pytest.raises(StateError, match=r"Cannot read .*keys\.json: Input/output error"):
        load_or_create_keys(state)


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"Cannot use .*file/state as the state directory"):
        load_or_create_keys(tmp_path / "file" / "state")


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_no_half_of_it(state, monkeypatch):
    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "fsync", fail)
        with pytest.raises(StateError, match=r"Cannot write .*keys\.json: No space left"):
            load_or_create_keys(state)
    assert not (state / "keys.json").exists()
    load_or_create_keys(state)


def test_a_lock_that_cannot_be_made_is_refused(state):
    (state / "keys.lock").mkdir(parents=True)
    with pytest.raises(StateError, match=r"Cannot lock .*keys\.lock"):
        load_or_create_keys(state)


def test_a_file_system_without_locks_is_refused(state, monkeypatch):
    def fail(_descriptor, _operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(_files.fcntl, "flock", fail)
    with pytest.raises(StateError, match=r"Cannot lock .*keys\.lock: No locks available"):
        load_or_create_keys(state)


def test_waiting_for_the_lock_is_bounded(state, monkeypatch):
    monkeypatch.setattr(_files, "LOCK_PATIENCE", 0.02)
    state.mkdir(parents=True)
    with (
        _files.locked(state / "keys.lock"),
        pytest.raises(StateError, match="Another process has held"),
    ):
        load_or_create_keys(state)


def test_who_waited_for_the_lock_takes_what_the_other_made(state, monkeypatch):
    theirs = KeyStore([SigningKey.generate(7)])

    @contextmanager
    def locked_after_the_other(_path):
        _files.write_private(state / "keys.json", _dump(theirs))
        yield

    monkeypatch.setattr(_files, "locked", locked_after_the_other)
    assert load_or_create_keys(state).newest.key_id == theirs.newest.key_id


def test_a_lock_is_had_once_the_other_lets_go(tmp_path):
    order = []

    def wait() -> None:
        with _files.locked(tmp_path / "lock"):
            order.append("second")

    waiting = threading.Thread(target=wait)
    with _files.locked(tmp_path / "lock"):
        waiting.start()
        waiting.join(0.03)
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"]


def test_processes_that_start_at_once_end_up_with_the_same_key(state):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, state],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert printed == [load_or_create_keys(state).newest.key_id] * 2


@pytest.mark.parametrize("budget", [0, 1, 150, 10_000])
def test_killed_while_writing_it_leaves_nothing_that_the_next_start_minds(state, budget):
    died = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_WRITING, state, str(budget)], check=False, timeout=30
    )
    assert died.returncode == -signal.SIGKILL
    assert {path.name for path in state.iterdir()} == {"keys.json.new", "keys.lock"}
    assert mode_of(state / "keys.json.new") == 0o600
    load_or_create_keys(state)
    assert {path.name for path in state.iterdir()} == {"keys.json", "keys.lock"}


@pytest.mark.parametrize("budget", [0, 150, 10_000, -1])
def test_killed_while_rotating_it_leaves_the_old_keys_or_the_new(state, budget):
    before = load_or_create_keys(state)
    died = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_WRITING, state, str(budget)], check=False, timeout=30
    )
    assert died.returncode == -signal.SIGKILL
    after = load_keys(state / "keys.json")
    if budget >= 0:
        assert after.newest.key_id == before.newest.key_id
    else:
        assert after.newest.created == 2_000_000_000
    change_keys(state / "keys.json", lambda keys: rotated(keys, 2_000_000_001, []))
    assert {path.name for path in state.iterdir()} == {"keys.json", "keys.lock"}


def test_keys_are_changed_by_one_at_a_time_and_only_if_there_is_something_to_change(state):
    path = state / "keys.json"
    first = change_keys(path, lambda keys: keys)
    assert load_keys(path).newest.key_id == first.newest.key_id, "there were none"
    second = change_keys(path, lambda keys: rotated(keys, 2_000_000_000, []))
    assert first.newest.key_id != second.newest.key_id
    written = path.stat().st_mtime_ns
    assert change_keys(path, lambda keys: keys).newest.key_id == second.newest.key_id
    assert path.stat().st_mtime_ns == written
    with pytest.raises(ZeroDivisionError):
        change_keys(path, lambda keys: 1 / 0)
    assert load_keys(path).newest.key_id == second.newest.key_id


def test_a_shared_file_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(StateError, match=r"auth\.keyFile"):
        load_keys(tmp_path / "keys.json")
    assert not list(tmp_path.iterdir())


def test_killed_after_the_rename_it_leaves_whole_keys(state):
    died = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_WRITING, state, "-1"], check=False, timeout=30
    )
    assert died.returncode == -signal.SIGKILL
    before = (state / "keys.json").read_bytes()
    load_or_create_keys(state)
    assert (state / "keys.json").read_bytes() == before


@pytest.mark.parametrize("length", range(0, 320, 7))
def test_a_leftover_of_any_length_is_harmless(state, length):
    state.mkdir(parents=True)
    leftover = _dump(KeyStore([SigningKey.generate(1)]))[:length]
    (state / "keys.json.new").write_bytes(leftover)
    keys = load_or_create_keys(state)
    assert load_or_create_keys(state).newest.key_id == keys.newest.key_id


def test_keys_that_exist_are_read_without_a_write(state):
    load_or_create_keys(state)
    (state / "keys.lock").unlink()
    load_or_create_keys(state)
    assert [path.name for path in state.iterdir()] == ["keys.json"]


def test_the_newest_key_signs_and_of_equals_the_last():
    old, new, also_new = (SigningKey.generate(created) for created in (1, 2, 2))
    assert KeyStore([new, old]).newest is new
    assert KeyStore([new, also_new, old]).newest is also_new
    assert KeyStore([old, new]).find(old.key_id) is old
    assert KeyStore([old, new]).find("unheard of") is None


def test_no_repr_shows_a_secret(keys):
    secret = json.loads(_dump(keys))["keys"][0]["d"]
    assert secret not in repr(keys)
    assert keys.newest.private.private_bytes_raw().hex() not in repr(keys)
    assert keys.newest.key_id in repr(keys)
    assert "PrivateKey" not in repr(keys)
