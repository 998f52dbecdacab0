"""The frontend under its supervisor."""

from __future__ import annotations

import httpx
import trio

from onemcp import config
from onemcp.app import Access, Gateway
from onemcp.auth import KeyStore
from tests.frontend.site import HEADERS, request


def unneeded() -> KeyStore:
    raise AssertionError("nobody needs keys here")


async def test_a_restarted_frontend_serves_again(nursery: trio.Nursery):
    configuration = config.Configuration(
        auth=config.Auth(mode="none"), server=config.Server(port=0, shutdown_grace=0.1)
    )
    gateway = Gateway(configuration, access=Access(unneeded))
    await nursery.start(gateway.run)
    handshake = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
    async with httpx.AsyncClient(headers=HEADERS) as client:
        assert (await client.post(gateway.url, json=handshake)).status_code == 200
        await gateway._frontend.restart_child("http")
        assert (await client.post(gateway.url, json=handshake)).status_code == 200
    await gateway.stop()
