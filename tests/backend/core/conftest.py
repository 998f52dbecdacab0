"""Connections under the tests' control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.backend.core.fakes import Duplex

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
async def duplex(nursery: trio.Nursery) -> Callable[..., Duplex]:
    """Start a connection to a peer."""

    async def watch() -> None:
        # With a clock that jumps, what would hang fails at once.
        await trio.sleep(80_000)
        raise TimeoutError("everything waits for something that never happens")

    def start(*args, **options) -> Duplex:
        connection = Duplex(*args, **options)
        nursery.start_soon(connection.run)
        return connection

    nursery.start_soon(watch)
    return start


@pytest.fixture
async def legacy(duplex) -> Duplex:
    """A connection to a legacy backend, up."""
    connection = duplex("legacy")
    await connection.peer.initialized(tools={})
    await connection.wait_up()
    return connection


@pytest.fixture
async def modern(duplex) -> Duplex:
    """A connection to a modern backend, up."""
    connection = duplex("modern")
    await connection.peer.discovered(tools={})
    await connection.wait_up()
    return connection
