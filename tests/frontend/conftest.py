"""A site in front of one scripted backend."""

from __future__ import annotations

import pytest

from tests.frontend.site import open_site


@pytest.fixture
async def site():
    async with open_site() as opened:
        yield opened
