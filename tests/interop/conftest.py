"""One gateway for the session, with all backends behind it, and every client beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.backends import BACKENDS
from tests.interop.jobs import CLIENTS
from tests.interop.world import new_world
from tests.support.npm import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.backends import BackendKind
    from tests.interop.jobs import Client
    from tests.interop.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Iterator[World]:
    with new_world(tmp_path_factory.mktemp("interop"), installed()) as world:
        yield world


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.name)
def client(request, world) -> Client:
    return world.clients[request.param.name]


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.name)
def backend(request) -> BackendKind:
    return request.param
