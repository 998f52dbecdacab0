from __future__ import annotations

import pytest

from tests.demo.peer import Peer


@pytest.fixture(params=["modern", "legacy"])
def peer(request) -> Peer:
    return Peer(modern=request.param == "modern")


@pytest.fixture
def modern() -> Peer:
    return Peer(modern=True)


@pytest.fixture
def legacy() -> Peer:
    return Peer(modern=False)
