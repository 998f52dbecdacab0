"""What is sent to a real socket of a service manager."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from onemcp.systemd import Notifier, watchdog_seconds


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[list[str]]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.mark.parametrize("is_abstract", [False, True])
def test_states_are_told_to_the_socket_that_the_environment_names(tmp_path: Path, is_abstract):
    name = str(tmp_path / "notify")
    manager = Manager(f"\0{name}" if is_abstract else name)
    with manager.socket:
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": f"@{name}" if is_abstract else name})
        assert notifier.is_wanted
        notifier.ready("Serving\nREADY=0")
        notifier.status("Serving\nREADY=0")  # nothing new
        notifier.status("x" * 1000)
        notifier.stopping("Finishing")
        notifier.alive()
        ready, status, stopping, alive = manager.heard()
    assert ready == ["READY=1", "STATUS=Serving READY=0"]
    assert status == ["STATUS=" + "x" * 500]
    assert stopping == ["STOPPING=1", "STATUS=Finishing"]
    assert alive == ["WATCHDOG=1"]


def test_a_reload_says_when_by_the_clock_of_the_manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        Notifier(str(tmp_path / "notify")).reloading()
        [[reloading, at]] = manager.heard()
    assert reloading == "RELOADING=1"
    name, _, microseconds = at.partition("=")
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= after


def test_without_a_manager_nothing_happens(tmp_path):
    assert not Notifier.from_environ({}).is_wanted
    Notifier(None).ready()
    Notifier(str(tmp_path / "gone")).ready("all is well")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_is_obeyed_where_it_is_for_this_process(environ, seconds):
    assert watchdog_seconds(environ, pid=7) == seconds
