"""The control socket: who gets it, what is found where it should be, and who may come in."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from onemcp.runtime import (
    Peer,
    SocketInUse,
    SocketUnusable,
    is_alive,
    is_trusted,
    open_socket,
    peer_of,
)


@pytest.fixture
def place(short_folder: Path) -> Path:
    """A short path, as sockets need, in a directory that there is not yet."""
    return short_folder / "run" / "x.sock"


def test_the_socket_and_its_directory_are_for_their_owner_only(place: Path):
    made = open_socket(place)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    alive = is_alive(place)
    assert alive == Peer(os.getpid(), os.geteuid())
    made.close()
    assert not place.exists()
    assert is_alive(place) is None


def test_what_a_killed_process_has_left_behind_is_replaced(place: Path):
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    assert is_alive(place) is None
    made = open_socket(place)
    assert is_alive(place) is not None
    made.close()


def test_a_socket_in_use_is_left_to_the_process_that_is_named(place: Path):
    made = open_socket(place)
    with pytest.raises(SocketInUse, match=f"process {os.getpid()} listens on {place}") as refused:
        open_socket(place)
    assert refused.value.pid == os.getpid()
    assert is_alive(place) is not None
    made.close()


def test_a_socket_too_busy_to_answer_is_in_use(place: Path, monkeypatch):
    monkeypatch.setattr("onemcp.runtime._socket.CONNECT_SECONDS", 0.01)
    place.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(place))
        busy.listen(0)
        waiting.connect(str(place))
        with pytest.raises(SocketInUse):
            open_socket(place)


def test_a_socket_that_took_the_place_of_another_is_not_removed_with_it(place: Path):
    first = open_socket(place)
    place.unlink()
    second = open_socket(place)
    first.close()
    assert is_alive(place) is not None
    second.close()
    second.close()


def test_what_is_no_socket_is_left_alone(place: Path):
    place.parent.mkdir()
    place.write_text("precious")
    with pytest.raises(SocketUnusable, match="is no socket"):
        open_socket(place)
    assert place.read_text() == "precious"


def test_a_directory_that_others_may_write_to_is_refused_unless_it_is_sticky(place: Path):
    place.parent.mkdir()
    place.parent.chmod(0o777)
    with pytest.raises(SocketUnusable, match="chmod 700"):
        open_socket(place)
    assert not place.exists()
    place.parent.chmod(0o1777)
    open_socket(place).close()


@pytest.mark.parametrize("name", ["x" * 120, "file/x.sock"])
def test_a_path_that_cannot_be_is_told(place: Path, name: str):
    place.parent.mkdir()
    (place.parent / "file").touch()
    with pytest.raises(SocketUnusable, match="--socket"):
        open_socket(place.parent / name)


def test_only_the_same_user_and_root_are_trusted():
    one, other = socket.socketpair()
    with one, other:
        assert is_trusted(peer_of(one))
    assert is_trusted(Peer(1, 0))
    assert not is_trusted(Peer(1, os.geteuid() + 1))
    assert not is_trusted(None)
