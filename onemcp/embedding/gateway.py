"""A gateway in the hands of a program."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

from onemcp import config
from onemcp.app import Access, Gateway, Overrides, open_durable
from onemcp.auth import KeyStore, load_or_create_keys, new_token, renewed
from onemcp.config import Configuration, ConfigurationError, Problem
from onemcp.control import Action
from onemcp.multiplexer import NO_ANSWERS, Answers, Client
from onemcp.supervision import TreeSnapshot

from .events import Broadcast, EventStream
from .front import NoFront

Settings: TypeAlias = Configuration | Mapping[str, Any] | str | os.PathLike[str]
"""A configuration, what its JSON would hold, or the path of its file."""

NOTHING: Final = Configuration()

PROGRAM: Final = "program"


class EmbeddedGateway(Client):
    """A running gateway, and one client of it: the program itself, which may do everything.

    Every method is safe to cancel; a cancelled call is cancelled at its backend too.
    """

    def __init__(
        self,
        gateway: Gateway,
        answers: Answers,
        broadcast: Broadcast,
        keys: Callable[[], KeyStore | None],
    ) -> None:
        """Stand for a gateway that runs; programs use `open_gateway`."""
        super().__init__(gateway.multiplexer.whole, PROGRAM, answers)
        self._gateway = gateway
        self._broadcast = broadcast
        self._keys = keys

    def __repr__(self) -> str:
        state = "running" if self.snapshot().running else "stopped"
        address = f" {self.url}" if self.url else ""
        return f"<EmbeddedGateway {state}{address} backends={len(self.configuration.backends)}>"

    @property
    def url(self) -> str:
        """Where clients find it; empty where it has no listener."""
        return self._gateway.url

    @property
    def configuration(self) -> Configuration:
        """What is in force."""
        return self._gateway.configuration

    def status(self) -> dict[str, Any]:
        """Return what ``onemcp status --json`` prints: the gateway, its backends, its tree."""
        return self._gateway.control.status()

    def snapshot(self) -> TreeSnapshot:
        """Return the state of the supervision tree."""
        return self._gateway.snapshot()

    def events(self) -> AbstractContextManager[EventStream]:
        """Follow what happens for as long as a block runs: backends, calls refused, reloads."""
        return self._broadcast.listening()

    def issue_token(self, subject: str, *, lifetime: float, scope: str = "mcp") -> str:
        """Make a bearer token for a client of the listener.

        Args:
            subject: Whom it is for.
            lifetime: How long it is good, in seconds.
            scope: What it is good for; see docs/how-to/tokens.md.

        Raises:
            RuntimeError: There is no listener, or ``auth.mode`` is not ``local``.
            ValueError: An argument can't be right.
        """
        keys = self._keys()
        if keys is None:
            raise RuntimeError("without a listener with auth.mode local there are no tokens")
        return new_token(keys, subject, lifetime, scope)

    # --- backends ----------------------------------------------------------------------------

    async def add_backend(self, name: str, settings: Mapping[str, Any]) -> None:
        """Add a backend, or replace one of the same name once the new one is up.

        A new one is started, and not waited for: calls wait until it is up, or has failed.

        Args:
            name: Its name.
            settings: What would stand in ``mcpServers``.

        Raises:
            ConfigurationError: The settings can't be used; nothing was changed.
        """
        (added,) = _parse({"mcpServers": {name: settings}}, "add_backend").backends
        others = [each for each in self.configuration.backends if each.name != name]
        await self._apply(attrs.evolve(self.configuration, backends=(*others, added)))

    async def remove_backend(self, name: str) -> None:
        """Remove a backend, once what is in flight there has ended.

        Raises:
            ControlError: There is none of that name.
        """
        self._gateway.control.backend(name)
        others = tuple(each for each in self.configuration.backends if each.name != name)
        await self._apply(attrs.evolve(self.configuration, backends=others))

    async def restart_backend(self, name: str) -> dict[str, Any]:
        """Stop a backend once what is in flight there has ended, and start it again.

        Calls that come meanwhile wait. That it doesn't come up is no error here.

        Returns:
            What `status` says of it then.

        Raises:
            ControlError: There is none of that name, or it can't be done now.
        """
        return await self._gateway.control.act(Action.RESTART, name, PROGRAM)

    async def reset_backend(self, name: str) -> dict[str, Any]:
        """Let calls to a backend through again whose circuit breaker has opened.

        Returns:
            What `status` says of it then.

        Raises:
            ControlError: There is none of that name, or it can't be done now.
        """
        return await self._gateway.control.act(Action.RESET, name, PROGRAM)

    async def stop_backend(self, name: str) -> dict[str, Any]:
        """Stop a backend, which stays down until it is started or configured otherwise.

        Returns:
            What `status` says of it then.

        Raises:
            ControlError: There is none of that name, or it can't be done now.
        """
        return await self._gateway.control.act(Action.STOP, name, PROGRAM)

    async def start_backend(self, name: str) -> dict[str, Any]:
        """Start a backend that is down, at once.

        Returns:
            What `status` says of it then.

        Raises:
            ControlError: There is none of that name, or it can't be done now.
        """
        return await self._gateway.control.act(Action.START, name, PROGRAM)

    async def reconfigure(self, new: Settings) -> bool:
        """Put another configuration in force, touching only what differs.

        Returns:
            Whether all of it is in force: a changed backend that doesn't come up stays as it was.

        Raises:
            ConfigurationError: It can't be used; nothing was changed.
        """
        return await self._apply(await _read(new))

    async def _apply(self, new: Configuration) -> bool:
        return await self._gateway.apply(new)


@asynccontextmanager
async def open_gateway(
    configuration: Settings = NOTHING,
    *,
    listener: socket.socket | None = None,
    state: str | os.PathLike[str] | None = None,
    answers: Answers = NO_ANSWERS,
) -> AsyncIterator[EmbeddedGateway]:
    """Run a gateway for as long as the block runs.

    Args:
        configuration: What to serve; by default no backend yet. A file is read once; see
            `EmbeddedGateway.reconfigure`.
        listener: A listening socket to serve clients on; stays the caller's, and open. The address
            in the configuration doesn't matter. Without it the program is the only client.
        state: The directory for what outlives the process; by default nothing does: keys, tokens,
            sessions and logins end with the block.
        answers: What backends may ask of the program, and what answers.

    Raises:
        ConfigurationError: The configuration can't be used.
        StateError: What is in the state directory can't be read or trusted.
        RuntimeError: This is not a Trio program; with anyio, use its Trio backend.
        RestartIntensityExceeded: Something failed more often than it is restarted; wrapped in an
            exception group, as what a nursery raises is.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError('onemcp runs on Trio: anyio.run(main, backend="trio")')
    known = await _read(configuration)
    directory = None if state is None else Path(state)
    broadcast = Broadcast()
    durable = await open_durable(directory, known.server.sealing_key_file, broadcast)
    if directory is None:
        access = Access(lambda: renewed(time.time()))
    else:
        access = Access(lambda: load_or_create_keys(directory), directory)
    if listener is not None:
        await access.prepare(known)
    try:
        gateway = Gateway(
            known,
            access=access,
            durable=durable,
            overrides=Overrides(listener=None if listener is None else listener.dup()),
            on_event=broadcast,
            open_front=NoFront if listener is None else None,
        )
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.run)
            try:
                yield EmbeddedGateway(gateway, answers, broadcast, lambda: access.keys.current)
            except Exception as error:  # noqa: BLE001 - raised below, in no group of the nursery's
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    await gateway.stop()
        if failure is not None:
            raise failure
    finally:
        durable.close()


async def _read(settings: Settings) -> Configuration:
    if isinstance(settings, Configuration):
        return settings
    if isinstance(settings, Mapping):
        return _parse(settings, "configuration")
    return await trio.to_thread.run_sync(config.load, settings)


def _parse(document: Mapping[str, Any], source: str) -> Configuration:
    try:
        text = json.dumps(document)
    except (TypeError, ValueError) as error:
        problem = Problem(file=source, message=str(error), remedy="Use what JSON has")
        raise ConfigurationError([problem]) from error
    return config.parse(text, source=source)
