"""A multiplexer whose backends are scripted servers."""

from __future__ import annotations

import pytest
import trio

from tests.multiplexer.fakes import World


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    return World(nursery)
