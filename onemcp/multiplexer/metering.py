"""What a multiplexer lets be counted. On the hot path: whoever counts must be quick."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Counts requests. Called synchronously; must not block or raise."""

    def requested(self, method: str) -> None:
        """Take note of a request of a client."""

    def refused(self, failure: type[BaseException]) -> None:
        """Take note that a request has come to nothing before it had a reply."""

    def carried(
        self, backend: str, method: str, seconds: float, failure: type[BaseException] | None
    ) -> None:
        """Take note that a call to a backend is over.

        Args:
            backend: The backend.
            method: What was called.
            seconds: How long that has taken.
            failure: What it has failed with; None where it was answered with a result.
        """


class NoMeter:
    """Counts nothing."""

    def requested(self, method: str) -> None:
        """Ignore it."""

    def refused(self, failure: type[BaseException]) -> None:
        """Ignore it."""

    def carried(
        self, backend: str, method: str, seconds: float, failure: type[BaseException] | None
    ) -> None:
        """Ignore it."""
