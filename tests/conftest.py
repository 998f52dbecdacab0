"""What holds for every test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How busy a machine is tells nothing of onemcp.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Mind interrupts even where the shell has started the tests in the background.

    There SIGINT is ignored, and programs that the tests start would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is started must neither find nor leave anything in the user's own directories.
    for variable in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        own = tempfile.mkdtemp(prefix="onemcp-tests-")
        config.add_cleanup(partial(shutil.rmtree, own, ignore_errors=True))
        os.environ[variable] = own


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for Unix sockets, whose paths must not be long: those below `tmp_path` may be."""
    with tempfile.TemporaryDirectory(prefix="onemcp-") as name:
        yield Path(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests together that share something, where several processes run them."""
    from tests.support.parallel import Scheduling  # noqa: PLC0415 - xdist may not be there

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, where several processes run the tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.support.parallel import turn_of  # noqa: PLC0415 - likewise

        items.sort(key=lambda item: turn_of(item.nodeid))
