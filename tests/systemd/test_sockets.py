"""What a service manager hands over, and what it must not."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest

from onemcp.systemd import ActivationError, inherited_listener, inherited_sockets

FIRST = 200
"""Where nothing else is."""


@pytest.fixture
def handed() -> Iterator[list[int]]:
    """Hand over a descriptor by appending it."""
    taken: list[int] = []
    yield taken
    for number in range(len(taken)):
        try:
            os.close(FIRST + number)
        except OSError:
            continue


def hand(handed: list[int], *descriptors: int) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, FIRST + number)
    handed[:] = descriptors


def environ(count: int, *names: str, pid: int = 7) -> dict[str, str]:
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": ":".join(names)}


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_socket_that_is_alone_needs_no_name(handed):
    with listening() as original:
        hand(handed, original.fileno())
        listener = inherited_listener(environ(1, "onemcp.socket"), 7, FIRST)
        assert listener is not None
        with listener:
            assert listener.getsockname() == original.getsockname()
            assert fcntl.fcntl(listener, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_of_several_the_one_named_http_is_taken(handed):
    with listening() as other, listening() as original:
        hand(handed, other.fileno(), original.fileno())
        found = inherited_listener(environ(2, "control", "http"), 7, FIRST)
        assert found is not None
        with found:
            assert found.getsockname() == original.getsockname()
        hand(handed, other.fileno(), original.fileno())
        with pytest.raises(ActivationError, match="FileDescriptorName=http"):
            inherited_listener(environ(2, "a", "b"), 7, FIRST)


@pytest.mark.parametrize(
    "variables", [{}, environ(1, pid=8), {"LISTEN_PID": "7"}, {"LISTEN_FDS": "1"}]
)
def test_what_is_for_somebody_else_is_left_alone(variables):
    assert inherited_sockets(variables, 7, FIRST) == []
    assert inherited_listener(variables, 7, FIRST) is None


def test_what_clients_cannot_come_by_is_refused(handed, tmp_path):
    with socket.socket(socket.AF_UNIX) as local, socket.socket() as silent:
        local.bind(str(tmp_path / "s"))
        local.listen()
        hand(handed, local.fileno())
        with pytest.raises(ActivationError, match="not one of TCP that listens"):
            inherited_listener(environ(1), 7, FIRST)
        hand(handed, silent.fileno())
        with pytest.raises(ActivationError, match="not one of TCP that listens"):
            inherited_listener(environ(1), 7, FIRST)
    with (tmp_path / "file").open("w") as file:
        hand(handed, file.fileno())
        with pytest.raises(ActivationError, match=f"{FIRST} was handed over, but is no socket"):
            inherited_listener(environ(1), 7, FIRST)
    for count in ("-1", "many", "65"):
        with pytest.raises(ActivationError, match="no number up to 64"):
            inherited_sockets({"LISTEN_PID": "7", "LISTEN_FDS": count}, 7, FIRST)
