"""What is counted while it happens, because it can't be looked at afterwards.

Theory of operation: everything here costs no more than a look into a dictionary and an addition.
The number of series is bounded: methods that onemcp doesn't know count as one, what a client
calls (tools, prompts, URIs) is no label at all, and backends that have been removed are forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NoReturn, TypeVar

import attrs
import trio

from onemcp.frontend import RequestDenied
from onemcp.protocol import methods
from onemcp.supervision import Event
from onemcp.telemetry import OTHER, Family, Histogram, Sample, kind_of, snake_case

K = TypeVar("K")

CANCELLED: Final = kind_of(trio.Cancelled)
"""The kind of failure that is the client's own wish."""

SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Bounds of durations, in seconds."""

LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
LAG_INTERVAL: Final = 1.0
"""How often it is looked how late a task is woken, in seconds."""

LAGS: Final = 3
"""How many times in a row tasks must be woken late before that counts as lasting."""


@attrs.frozen
class Total:
    """What calls add up to.

    Attributes:
        calls: How many have ended.
        seconds: How long they took altogether, in seconds.
        failures: How many of them were not answered with a result, but for those that their
            clients have cancelled.
    """

    calls: int = 0
    seconds: float = 0.0
    failures: int = 0

    def since(self, before: Total) -> Total:
        """Return what has come to it; all of it, where counting has begun anew."""
        if self.calls < before.calls:
            return self
        return Total(
            self.calls - before.calls,
            self.seconds - before.seconds,
            self.failures - before.failures,
        )


class Meter:
    """Counts requests, calls and events; see :class:`.multiplexer.Meter`."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._requests: dict[str, int] = dict.fromkeys(methods.REQUESTS, 0)
        self._refused: dict[str, int] = {}
        self._calls: dict[tuple[str, str], Histogram] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._events: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._denied: dict[int, int] = {}
        self._lag = Histogram(LAG_SECONDS)
        self._lags = deque([0.0] * LAGS, LAGS)

    # --- what happens ------------------------------------------------------------------------

    def requested(self, method: str) -> None:
        """Take note of a request of a client."""
        if method not in self._requests:
            method = OTHER
        self._requests[method] = self._requests.get(method, 0) + 1

    def refused(self, failure: type[BaseException]) -> None:
        """Take note that a request has come to nothing before it had a reply."""
        _count(self._refused, kind_of(failure))

    def carried(
        self, backend: str, method: str, seconds: float, failure: type[BaseException] | None
    ) -> None:
        """Take note that a call to a backend is over."""
        calls = self._calls.get((backend, method))
        if calls is None:
            method = method if method in methods.REQUESTS else OTHER
            calls = self._calls.setdefault((backend, method), Histogram(SECONDS))
        calls.observe(seconds)
        if failure is not None:
            _count(self._failures, (backend, kind_of(failure)))

    def happened(self, event: object) -> None:
        """Take note of a typed event."""
        if isinstance(event, Event):
            _count(self._changes, event.what.value)
            return
        _count(self._events, snake_case(type(event).__name__))
        if isinstance(event, RequestDenied):
            _count(self._denied, event.status)

    def forget(self, names: Iterable[str]) -> None:
        """Count nothing any more of backends that have been removed."""
        gone = frozenset(names)
        for key in [key for key in self._calls if key[0] in gone]:
            del self._calls[key]
        for key in [key for key in self._failures if key[0] in gone]:
            del self._failures[key]

    async def watch_lag(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Measure how late tasks are woken, until cancelled."""
        task_status.started()
        while True:
            due = trio.current_time() + LAG_INTERVAL
            await trio.sleep_until(due)
            self.lagged(max(0.0, trio.current_time() - due))

    def lagged(self, seconds: float) -> None:
        """Take note how late a task was woken."""
        self._lag.observe(seconds)
        self._lags.append(seconds)

    @property
    def lag(self) -> float:
        """How late tasks are woken lastingly, in seconds: the least of what was measured last."""
        return min(self._lags)

    def totals(self) -> Mapping[str, Total]:
        """Return what the calls to each backend add up to."""
        totals: dict[str, Total] = {}
        for (backend, _), calls in self._calls.items():
            so_far = totals.get(backend, Total())
            count = so_far.calls + sum(calls.counts)
            totals[backend] = attrs.evolve(
                so_far, calls=count, seconds=so_far.seconds + calls.total
            )
        for (backend, kind), count in self._failures.items():
            if kind != CANCELLED and backend in totals:
                so_far = totals[backend]
                totals[backend] = attrs.evolve(so_far, failures=so_far.failures + count)
        return totals

    # --- what has happened -------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        """Return all that was counted."""
        yield Family(
            "onemcp_requests_total",
            "Requests of clients.",
            "counter",
            [Sample(count, {"method": method}) for method, count in self._requests.items()],
        )
        yield Family(
            "onemcp_requests_refused_total",
            "Requests of clients that came to nothing before they had a reply.",
            "counter",
            [Sample(count, {"kind": kind}) for kind, count in self._refused.items()],
        )
        yield Family(
            "onemcp_requests_denied_total",
            "HTTP requests refused for their origin, host or credentials.",
            "counter",
            [Sample(count, {"status": str(status)}) for status, count in self._denied.items()],
        )
        yield Family(
            "onemcp_backend_request_duration_seconds",
            "How long calls to backends took until they were over or wait for their clients.",
            "histogram",
            [
                Sample(calls, {"backend": backend, "method": method})
                for (backend, method), calls in self._calls.items()
            ],
        )
        yield Family(
            "onemcp_backend_request_errors_total",
            "Calls to backends that were not answered with a result.",
            "counter",
            [
                Sample(count, {"backend": backend, "kind": kind})
                for (backend, kind), count in self._failures.items()
            ],
        )
        yield Family(
            "onemcp_events_total",
            "What has happened, by the names that the log has for it.",
            "counter",
            [Sample(count, {"event": event}) for event, count in self._events.items()],
        )
        yield Family(
            "onemcp_supervision_events_total",
            "What has happened to supervised tasks.",
            "counter",
            [Sample(count, {"what": what}) for what, count in self._changes.items()],
        )
        yield Family(
            "onemcp_event_loop_lag_seconds",
            "How late tasks are woken.",
            "histogram",
            [Sample(self._lag)],
        )


def _count(counts: dict[K, int], key: K) -> None:
    counts[key] = counts.get(key, 0) + 1
