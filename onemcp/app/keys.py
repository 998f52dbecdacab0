"""The keys that tokens are signed with: which file they are in, and keeping them current.

Theory of operation: the file is the truth. Whoever rotates the keys, this process or a command,
changes the file, and every process that uses it sees that. Keys of onemcp's own are rotated by age,
by whichever process comes first; those in a file that the configuration names are the operator's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from onemcp.auth import KEYS_FILE, KeyStore, change_keys, is_due, load_keys, reload_keys, rotated
from onemcp.config import Configuration, watch
from onemcp.state import StateError

from .events import KeysNotRotated, KeysRotated, KeysUnreadable

LONGEST_SLEEP: Final = 3600.0
"""How long keys are left alone until their age is looked at again, in seconds: clocks jump."""


class SigningKeys:
    """Knows the keys of one gateway. Owned by one task.

    Attributes:
        on_change: Called when the keys have changed.
        issued: Tells when each token was issued that is remembered and still counts.
    """

    def __init__(
        self,
        load: Callable[[], KeyStore],
        state: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know no keys yet.

        Args:
            load: Reads the keys of onemcp's own; may block and raise a StateError.
            state: The directory where those are, or None where they are nowhere.
            clock: Tells the time, in seconds since the epoch.
        """
        self.on_change: Callable[[], object] = lambda: None
        self.issued: Callable[[], Iterable[float]] = tuple
        self._load = load
        self._own = None if state is None else state / KEYS_FILE
        self._clock = clock
        self._stores: dict[Path | None, KeyStore] = {}
        self._used: Configuration | None = None
        self._news = trio.Event()
        self._file = trio.Lock()  # what was read before a rotation must not be taken after it

    async def prepare(self, configuration: Configuration) -> None:
        """Read the keys of a configuration, unless they are known.

        Raises:
            StateError: They can't be read, trusted or made.
        """
        path = configuration.auth.key_file
        if path not in self._stores:
            read = self._load if path is None else partial(load_keys, path)
            self._stores[path] = await trio.to_thread.run_sync(read)
        if self._used is None:
            self.use(configuration)

    @property
    def current(self) -> KeyStore | None:
        """The keys that are in use, or None while none are needed."""
        return None if self._used is None else self.of(self._used)

    def of(self, configuration: Configuration) -> KeyStore | None:
        """Return the keys of a configuration, or None where it has not been prepared for."""
        return self._stores.get(configuration.auth.key_file)

    def use(self, configuration: Configuration) -> None:
        """Watch and rotate the keys of a configuration that has been prepared for."""
        self._used = configuration
        self._stores = {
            path: keys
            for path, keys in self._stores.items()
            if path in {None, configuration.auth.key_file}
        }
        self._news.set()

    async def run(
        self, on_event: Callable[[object], object], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """See what other processes change of the keys, and rotate them, until cancelled."""
        task_status.started()
        while True:
            self._news = trio.Event()
            async with trio.open_nursery() as nursery:
                configuration = self._used
                if configuration is not None and self.of(configuration) is not None:
                    nursery.start_soon(self._watch, configuration, on_event)
                    nursery.start_soon(self._rotate, configuration, on_event)
                await self._news.wait()
                nursery.cancel_scope.cancel()

    async def _watch(
        self, configuration: Configuration, on_event: Callable[[object], object]
    ) -> None:
        path = configuration.auth.key_file
        file = path or self._own
        if file is not None:
            read = partial(self._read, path, on_event)
            async with trio.open_nursery() as nursery:
                await nursery.start(watch, file, read)
                await read()  # what was changed before

    async def _read(self, path: Path | None, on_event: Callable[[object], object]) -> None:
        file = path or self._own
        assert file is not None  # noqa: S101  (for mypy: it is watched)
        try:
            # Never made anew: that would end every token because a file is away for a moment.
            load = reload_keys if path is None else load_keys
            async with self._file:
                self._take(path, await trio.to_thread.run_sync(load, file))
        except StateError as error:
            on_event(KeysUnreadable(str(error)))

    async def _rotate(
        self, configuration: Configuration, on_event: Callable[[object], object]
    ) -> None:
        lifetime = configuration.auth.key_lifetime
        if configuration.auth.key_file is not None or not lifetime or self._own is None:
            return
        while True:
            keys = self._stores[None]
            due = keys.newest.created + lifetime - self._clock()
            await trio.sleep(min(max(due, 0.0), LONGEST_SLEEP))
            if is_due(keys, self._clock(), lifetime):
                await self._rotate_now(self._own, lifetime, on_event)

    async def _rotate_now(
        self, path: Path, lifetime: float, on_event: Callable[[object], object]
    ) -> None:
        now, issued = self._clock(), tuple(self.issued())

        def change(keys: KeyStore) -> KeyStore:
            # Somebody else may have come first.
            return rotated(keys, now, issued) if is_due(keys, now, lifetime) else keys

        try:
            async with self._file:
                keys = await trio.to_thread.run_sync(change_keys, path, change)
                self._take(None, keys)
        except (StateError, ValueError) as error:
            on_event(KeysNotRotated(str(error)))
            await trio.sleep(LONGEST_SLEEP)
        else:
            on_event(KeysRotated(keys.newest.key_id))

    def _take(self, path: Path | None, keys: KeyStore) -> None:
        known = self._stores.get(path)
        if known is None or [k.key_id for k in known.keys] != [k.key_id for k in keys.keys]:
            self._stores[path] = keys
            self.on_change()
