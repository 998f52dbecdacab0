"""The pins of all backends of one gateway."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import trio

from onemcp.pinning import DefinitionChanged, DefinitionsPinned, Pins, PinStore, PinsUnusable

LOOK: Final = 2.0
"""How often it is looked what other processes have approved, in seconds."""


class Pinboard:
    """One `Pins` for each backend, whoever lists what it has, and however often it is replaced."""

    def __init__(
        self,
        store: PinStore | None,
        on_event: Callable[[DefinitionChanged | DefinitionsPinned | PinsUnusable], object],
    ) -> None:
        """Begin with none.

        Args:
            store: Where they are kept; without, they are for this process alone.
            on_event: Takes what happens.
        """
        self._store = store
        self._on_event = on_event
        self._pins: dict[str, Pins] = {}

    def of(self, backend: str) -> Pins:
        """Return the pins of a backend."""
        if backend not in self._pins:
            self._pins[backend] = Pins(backend, self._store, self._on_event)
        return self._pins[backend]

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """See what other processes approve, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(LOOK if self._store is not None else math.inf)
            for pins in await trio.to_thread.run_sync(_stale, list(self._pins.values())):
                await pins.look()


def _stale(all_pins: Iterable[Pins]) -> list[Pins]:
    return [pins for pins in all_pins if pins.is_stale()]
