"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Mind interrupts even where the shell has started the tests in the background.

    There SIGINT is ignored, and programs that the tests start would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
