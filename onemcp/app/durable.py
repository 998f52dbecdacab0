"""What of one gateway outlives its process: the keys that it seals with, and its ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from onemcp.pinning import PinStore
from onemcp.state import (
    Keyring,
    Ledger,
    StateUnwritable,
    ledger_in_memory,
    load_keyring,
    load_or_create_keyring,
    open_ledger,
)

from .events import LedgerReplaced, StateUnavailable

if TYPE_CHECKING:
    from onemcp.backend.oauth import LoginStore


@attrs.frozen
class LoginPlace:
    """Where logins at backends are kept.

    Attributes:
        directory: The state directory.
        keyring: What they are sealed with.
    """

    directory: Path
    keyring: Keyring

    def open(self) -> LoginStore:
        """Return them; that imports what logs in."""
        from onemcp.backend.oauth import LoginStore  # noqa: PLC0415 - httpx and all below it

        return LoginStore(self.directory, self.keyring)


@attrs.frozen
class Durable:
    """What outlives the process, where there is anywhere to keep it.

    Attributes:
        keyring: What clients are given to keep is sealed with it.
        ledger: What has become of that.
        logins: Where the logins at backends are, or None where there is nowhere to keep them.
        pins: What backends' tools looked like when they were approved; likewise.
    """

    keyring: Keyring
    ledger: Ledger
    logins: LoginPlace | None = None
    pins: PinStore | None = None

    @classmethod
    def ephemeral(cls) -> Durable:
        """Return what ends with the process."""
        return cls(Keyring.ephemeral(), ledger_in_memory())

    def close(self) -> None:
        """Close the files."""
        self.ledger.close()


def open_keyring(state_directory: Path, key_file: Path | None) -> Keyring:
    """Read the sealing keys; the arguments are those of `open_durable`. Blocks on the disk.

    Raises:
        StateError: They can't be read, trusted or made.
    """
    shared = None if key_file is None else load_keyring(key_file)
    return shared or load_or_create_keyring(state_directory)


async def open_durable(
    state_directory: Path | None,
    key_file: Path | None,
    on_event: Callable[[StateUnavailable | LedgerReplaced], object],
) -> Durable:
    """Read the sealing keys and open the ledger.

    Where there is no state directory, and none can be made, onemcp does without: then sessions and
    parked calls end with the process, and the operator is told.

    Args:
        state_directory: Where onemcp keeps its state, or None to keep nothing.
        key_file: The sealing keys that are shared with other instances, or None for its own.
        on_event: Takes what the operator is to know.

    Raises:
        StateError: A file is there, but can't be trusted or read; or the shared one isn't.
    """
    if state_directory is None:
        return Durable.ephemeral()
    events: list[StateUnavailable | LedgerReplaced] = []
    durable = await trio.to_thread.run_sync(_open, state_directory, key_file, events.append)
    for event in events:  # told here, not in the thread: who takes them lives in Trio's
        on_event(event)
    return durable


def _open(
    state_directory: Path,
    key_file: Path | None,
    on_event: Callable[[StateUnavailable | LedgerReplaced], object],
) -> Durable:
    try:
        keyring = open_keyring(state_directory, key_file)
    except StateUnwritable as error:
        on_event(StateUnavailable(str(error)))
        return Durable.ephemeral()
    try:
        ledger = open_ledger(state_directory)
    except StateUnwritable as error:
        on_event(StateUnavailable(str(error)))
        # Which sessions have ended is not known: none that was opened before goes on.
        ledger = ledger_in_memory(forgotten=time.time())
    logins, pins = LoginPlace(state_directory, keyring), PinStore(state_directory)
    if ledger.was_damaged:
        on_event(LedgerReplaced(str(state_directory)))
    return Durable(keyring, ledger, logins, pins)
