"""What a measurement finds, and how it is said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from tests.faults.wire import Client, WireError, text

DEADLINE = 30.0
"""Seconds after which a call counts as lost."""


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        measure: What was measured.
        value: What was found, with its unit.
        target: What it should be.
        is_met: Whether it is; None where nothing can be measured.
        remark: What a reader needs to judge it.
    """

    measure: str
    value: str
    target: str
    is_met: bool | None
    remark: str = ""


def not_applicable(measure: str, remark: str) -> Figure:
    """Return the row of what a gateway has not got."""
    return Figure(measure, "not applicable", "", is_met=None, remark=remark)


@dataclass
class Tally:
    """How calls ended.

    Attributes:
        outcomes: How many were answered, got one error, the wrong answer, or none.
        seconds: How long the answered ones took.
        errors: How many errors had which code.
        endings: How many right answers said what, beyond what they had to.
        lost: What is known of those that were lost, the first few.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        """How many calls got neither their answer nor exactly one error."""
        return self.outcomes["wrong"] + self.outcomes["none"]

    async def call(self, client: Client, label: str, said: str) -> bool:
        """Call, and note how it ended; whether with the answer."""
        begun = trio.current_time()
        outcome = await self._outcome(client, label, said)
        self.outcomes[outcome] += 1
        if outcome == "answered":
            self.seconds.append(trio.current_time() - begun)
        return outcome == "answered"

    async def _outcome(self, client: Client, label: str, said: str) -> str:
        try:
            with trio.fail_after(DEADLINE):
                message = await client.echo(label, said)
        except (WireError, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            self.lost.append(f"{label}: {error!r}")
            return "none"
        if "error" in message:
            self.errors[message["error"]["code"]] += 1
            return "error"
        found, _, ending = (text(message) or "").partition(" ")
        if found == said:
            self.endings[ending] += 1
            return "answered"
        return "error" if message["result"].get("isError") else "wrong"

    def percentile(self, share: float) -> float:
        """Return the seconds that a share of the answered calls did not exceed."""
        return percentile(self.seconds, share)


def percentile(values: Sequence[float], share: float) -> float:
    """Return what a share of some values do not exceed; infinite where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.inf


def milliseconds(seconds: float) -> str:
    """Say a duration."""
    return f"{seconds * 1000:,.0f} ms"
