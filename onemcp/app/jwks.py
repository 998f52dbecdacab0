"""The key sets of authorization servers elsewhere, over HTTP."""

from __future__ import annotations

import httpx
import trio

from onemcp.auth import MAX_JWKS_BYTES


async def download(url: str) -> bytes:
    """Get a document.

    Raises:
        ValueError: It can't be had, or is too large.
    """
    try:
        return await _download(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(str(error) or type(error).__name__) from error


async def _download(url: str) -> bytes:
    # Neither proxies nor credentials of the environment, and nobody else's address.
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the server answered with status {response.status_code}")
        data = b""
        with trio.CancelScope() as rest:  # to leave the loop would leave httpx's generators open
            async for part in response.aiter_bytes():
                data += part
                if len(data) > MAX_JWKS_BYTES:
                    rest.cancel()
        if len(data) > MAX_JWKS_BYTES:
            raise ValueError(f"the answer has more than {MAX_JWKS_BYTES} bytes")
        return data
