"""What holds for every test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Mind interrupts even where the shell has started the tests in the background.

    There SIGINT is ignored, and programs that the tests start would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is started must neither find nor leave anything in the user's own state directory.
    state = tempfile.mkdtemp(prefix="onemcp-tests-")
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    os.environ["XDG_STATE_HOME"] = state
