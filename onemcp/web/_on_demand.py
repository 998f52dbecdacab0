"""Modules that are loaded when somebody asks for the first page of theirs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import trio


class OnDemand:
    """Something of a module that is slow to load. Owned by one task."""

    def __init__(self, module: str, new: Callable[[Any], Any]) -> None:
        """Remember what to load; nothing is loaded yet.

        Args:
            module: The module.
            new: Makes what is wanted, given the module.
        """
        self._module = module
        self._new = new
        self._made: Any = None
        self._loading = trio.Lock()

    async def get(self) -> Any:
        """Return it, made by the first who asks."""
        if self._made is None:
            async with self._loading:
                if self._made is None:
                    # It takes a while, and nobody else shall wait for it.
                    module = await trio.to_thread.run_sync(import_module, self._module)
                    self._made = self._new(module)
        return self._made
