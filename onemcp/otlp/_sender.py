"""One request after the other to a collector, and when to try again.

Implements OTLP/HTTP: Request, Response (Success, Partial Success, Failures, Throttling).
"""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import trio

from onemcp.backend.trust import trusting
from onemcp.config import Otlp, Signal

from ._encoding import Refusal, read_answer

RETRIED: Final = frozenset({429, 502, 503, 504})
"""What a collector answers that may take the same request later (Retryable Response Codes)."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""How long is waited until the next try, in seconds; doubled each time, and a part of it chance."""

MOST_PATIENCE: Final = 300.0
"""How long a collector may ask to be left alone, in seconds."""

MOST_ANSWER: Final = 64 * 1024
"""How much of an answer is read, in bytes."""

CLOSE_PATIENCE: Final = 1.0


class Undelivered(Exception):
    """Something could not be delivered, but perhaps later.

    Attributes:
        pause: How long the collector wants to be left alone, in seconds; None if it doesn't say.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        """Say why."""
        super().__init__(reason)
        self.pause = pause


class Rejected(Exception):
    """Something will not be taken, however often it is sent."""


class Sender:
    """Sends to one collector."""

    def __init__(self, settings: Otlp, transport: httpx.AsyncBaseTransport) -> None:
        """Send through `transport`; see `opened`."""
        self._settings = settings
        self._transport = transport
        self._urls = {signal: httpx.URL(settings.url_of(signal)) for signal in settings.signals}
        self._headers = {
            **settings.headers,
            "content-type": "application/x-protobuf",
            "user-agent": "onemcp",
        }

    async def deliver(
        self, signal: Signal, body: bytes, until: float, on_trouble: Callable[[str], object]
    ) -> Refusal | None:
        """Send something until it is taken.

        Args:
            signal: What it is.
            body: The message of OTLP.
            until: When it is given up, by Trio's clock; one try is always made.
            on_trouble: Called with the reason each time it has failed.

        Returns:
            Which part of it was refused; None where all was taken.

        Raises:
            Undelivered: It was given up.
            Rejected: It was refused as a whole.
        """
        longest = FIRST_PAUSE
        content = body
        if self._settings.compression == "gzip":
            content = await trio.to_thread.run_sync(gzip.compress, body)
        while True:
            try:
                return await self._send(signal, content)
            except Undelivered as failure:
                on_trouble(str(failure))
                pause = failure.pause
                if pause is None:
                    pause = longest * random.uniform(0.5, 1.0)  # noqa: S311  # nosec B311  # no secret
                if trio.current_time() + pause >= until:
                    raise
                await trio.sleep(pause)
                longest = min(2 * longest, LONGEST_PAUSE)

    async def _send(self, signal: Signal, content: bytes) -> Refusal | None:
        headers = dict(self._headers)
        if self._settings.compression == "gzip":
            headers["content-encoding"] = "gzip"
        timeout = httpx.Timeout(self._settings.timeout).as_dict()
        request = httpx.Request(
            "POST",
            self._urls[signal],
            headers=headers,
            content=content,
            extensions={"timeout": timeout},
        )
        try:
            with trio.fail_after(self._settings.timeout):
                response = await self._transport.handle_async_request(request)
                try:
                    answer = await _read(response)
                finally:
                    with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                        await response.aclose()
        except trio.TooSlowError:
            raise Undelivered(f"no answer within {self._settings.timeout:g} s") from None
        except httpx.HTTPError as error:
            raise Undelivered(f"it can't be reached: {type(error).__name__}") from error
        return _judge(signal, response, answer)


@asynccontextmanager
async def opened(settings: Otlp) -> AsyncIterator[Sender]:
    """Open what sends to a collector."""
    context = await trio.to_thread.run_sync(trusting, settings.tls)
    transport = httpx.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        limits=httpx.Limits(max_connections=2, keepalive_expiry=settings.interval),
    )
    try:
        yield Sender(settings, transport)
    finally:
        with trio.move_on_after(CLOSE_PATIENCE, shield=True):
            await transport.aclose()


async def _read(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > MOST_ANSWER:
            break
    return b"".join(parts)


def _judge(signal: Signal, response: httpx.Response, answer: bytes) -> Refusal | None:
    status = response.status_code
    if status == httpx.codes.OK:
        return read_answer(signal, answer)
    if status in RETRIED:
        raise Undelivered(f"it answers {status}", _pause(response.headers.get("retry-after")))
    raise Rejected(f"it answers {status}")


def _pause(value: str | None) -> float | None:
    """Read ``Retry-After`` (RFC 9110, section 10.2.3); None where it says nothing."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value[:9]), MOST_PATIENCE)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(0.0, seconds), MOST_PATIENCE)
