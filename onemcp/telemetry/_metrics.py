"""Metrics as values: what was counted and measured, and how Prometheus reads it.

Theory of operation: what happens on the hot path is counted in plain dictionaries and lists of
integers, which cost a few hundred nanoseconds and no lock, because one task at a time runs. What
can be looked at is not counted at all, but looked at when somebody asks. Both end up as
:class:`Family`, written in the text format 0.0.4, which every scraper reads.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = Mapping[str, str | int]

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Histogram:
    """How often values of which size were seen.

    Attributes:
        bounds: The upper bounds of all buckets but the last, which has none; ascending.
        counts: How many values fell into each bucket, the last one included.
        total: Their sum.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with no values."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take one more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@attrs.frozen
class Sample:
    """One value, or one histogram, with what tells it from others of its family.

    Attributes:
        value: The value.
        labels: The labels.
    """

    value: float | Histogram
    labels: Labels = attrs.field(factory=dict)


@attrs.frozen
class Family:
    """What goes by one name.

    Attributes:
        name: The name, with its unit; that of a counter ends in ``_total``.
        help: What it is, for people.
        kind: What can be done with it.
        samples: The values.
    """

    name: str
    help: str
    kind: Kind
    samples: Iterable[Sample]

    @classmethod
    def single(cls, name: str, about: str, value: float, kind: Kind = "gauge") -> Family:
        """Return a family of one value."""
        return cls(name, about, kind, (Sample(value),))


def expose(families: Iterable[Family]) -> bytes:
    """Write families in the text format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        about = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {family.name} {about}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for sample in family.samples:
            _write(lines, family.name, sample)
    return "".join(f"{line}\n" for line in lines).encode()


def _write(lines: list[str], name: str, sample: Sample) -> None:
    told = ((key, str(value).translate(_ESCAPED)) for key, value in sample.labels.items())
    labels = ",".join(f'{key}="{text}"' for key, text in told)
    if not isinstance(sample.value, Histogram):
        braces = f"{{{labels}}}" if labels else ""
        lines.append(f"{name}{braces} {_number(sample.value)}")
        return
    histogram, seen = sample.value, 0
    before, braces = (f"{labels},", f"{{{labels}}}") if labels else ("", "")
    for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
        seen += count
        lines.append(f'{name}_bucket{{{before}le="{_number(bound)}"}} {seen}')
    lines.append(f"{name}_sum{braces} {_number(histogram.total)}")
    lines.append(f"{name}_count{braces} {seen}")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
