"""Lines and strips of what has been, as paths of SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from .history import KEPT_MOMENTS, Moment

HEIGHT: Final = 24.0
"""How high a drawing is; it is ``KEPT_MOMENTS`` wide, so that each sample is one wide."""

_LEAST: Final = 1.0
"""How high something is drawn that is small, but there."""


class Run(NamedTuple):
    """How long a backend was in one state.

    Attributes:
        state: Which.
        x: Where it begins.
        width: How many samples it lasted.
    """

    state: str
    x: int
    width: int


class Drawing(NamedTuple):
    """What has been of one backend.

    Attributes:
        latency: The path of how long calls took on the average, with gaps where there were none.
        errors: The path of how many have failed.
        runs: In which states it was.
        now: How long calls took most recently, in seconds; None where there were none.
        slowest: The largest of the averages.
        calls: How many calls there were.
        failures: How many of them have failed.
    """

    latency: str
    errors: str
    runs: tuple[Run, ...]
    now: float | None
    slowest: float
    calls: int
    failures: int


def draw(moments: Sequence[Moment]) -> Drawing:
    """Draw the samples of a backend, the latest at the right."""
    start = KEPT_MOMENTS - len(moments)
    means = [m.total.seconds / m.total.calls if m.total.calls else None for m in moments]
    known = [mean for mean in means if mean is not None]
    slowest = max(known, default=0.0)
    return Drawing(
        " ".join(_line(means, start, slowest)),
        " ".join(_bars([moment.total.failures for moment in moments], start)),
        tuple(_runs(moments, start)),
        known[-1] if known else None,
        slowest,
        sum(moment.total.calls for moment in moments),
        sum(moment.total.failures for moment in moments),
    )


def _line(values: Sequence[float | None], start: int, most: float) -> Iterator[str]:
    """Yield steps of a path; a sample beside gaps is a line as long as it lasted."""
    is_drawing = False
    for x, value in enumerate(values, start):
        if value is not None:
            y = HEIGHT - max(_LEAST, (HEIGHT - _LEAST) * value / most) if most else HEIGHT - _LEAST
            yield f"{'L' if is_drawing else 'M'}{x} {y:.1f}h1"
        is_drawing = value is not None


def _bars(values: Sequence[int], start: int) -> Iterator[str]:
    most = max(values, default=0)
    for x, value in enumerate(values, start):
        if value:
            yield f"M{x}.5 {HEIGHT:g}v-{max(2 * _LEAST, HEIGHT * value / most):.1f}"


def _runs(moments: Sequence[Moment], start: int) -> Iterator[Run]:
    for state, group in groupby(moments, key=lambda moment: moment.state.value):
        width = len(list(group))
        yield Run(state, start, width)
        start += width
