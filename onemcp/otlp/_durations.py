"""How long something took, as other servers and clients of MCP measure it.

Implements the histograms of the semantic conventions of OpenTelemetry for MCP
(semantic-conventions-genai, ``docs/gen-ai/mcp.md``, Metrics).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from onemcp.telemetry import Attributes, Family, Histogram, Sample, SpanKind

SECONDS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""Bounds of durations, in seconds, as the conventions have them."""

MOST: Final = 1000
"""How many series there are before others are put together."""

ERROR: Final = "error.type"
OTHER_ERROR: Final = "_OTHER"
"""Stands for every error where errors are put together (OpenTelemetry, ``error.type``)."""


class Durations:
    """One family of durations.

    Once there are many series, others are told apart by little: by what there are few of.
    """

    def __init__(
        self, name: str, about: str, telling: Iterable[str], bounded: Iterable[str]
    ) -> None:
        """Begin with nothing.

        Args:
            name: What it is called.
            about: What it is, for people.
            telling: The attributes that tell series apart.
            bounded: Those of them that have few values.
        """
        self._name = name
        self._about = about
        self._telling = tuple(telling)
        self._bounded = tuple(bounded)
        self._seen: dict[tuple[tuple[str, str | int], ...], Histogram] = {}

    def __len__(self) -> int:
        """Count the series."""
        return len(self._seen)

    def observe(self, seconds: float, known: Attributes) -> None:
        """Take one more duration.

        Args:
            seconds: The duration.
            known: What is known of what took so long; more than is told.
        """
        series = tuple((key, known[key]) for key in self._telling if key in known)
        if series not in self._seen and len(self._seen) >= MOST:
            failed = ((ERROR, OTHER_ERROR),) if ERROR in known else ()
            series = tuple((key, known[key]) for key in self._bounded if key in known) + failed
        found = self._seen.get(series)
        if found is None:
            found = self._seen[series] = Histogram(SECONDS)
        found.observe(seconds)

    def families(self) -> Iterator[Family]:
        """Return what was measured; nothing as long as that is nothing."""
        if self._seen:
            samples = [Sample(each, dict(series)) for series, each in self._seen.items()]
            yield Family(self._name, self._about, "histogram", samples)

    def __repr__(self) -> str:
        return f"<Durations {self._name} series={len(self)}>"


class BothSides:
    """What is measured as a server and as a client, in a family each."""

    def __init__(
        self,
        what: str,
        about: Mapping[SpanKind, str],
        telling: Iterable[str],
        bounded: Iterable[str],
    ) -> None:
        """Begin with nothing.

        Args:
            what: What lasts, as the names of the families have it.
            about: What each of them is, for people.
            telling: As for `Durations`.
            bounded: As for `Durations`.
        """
        self._durations = {
            side: Durations(f"mcp.{side}.{what}.duration", text, telling, bounded)
            for side, text in about.items()
        }

    def observe(self, side: SpanKind, seconds: float, known: Attributes) -> None:
        """Take one more duration, as for `Durations`."""
        self._durations[side].observe(seconds, known)

    def families(self) -> Iterator[Family]:
        """Return what was measured."""
        for durations in self._durations.values():
            yield from durations.families()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} series={sum(map(len, self._durations.values()))}>"
