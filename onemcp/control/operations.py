"""Everything that operators may ask of a running gateway, and the one place where it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio

from onemcp import config
from onemcp.backend import Backend
from onemcp.config import Configuration, Reloaded, Reloader
from onemcp.frontend import Sessions
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import SupervisionError, TreeSnapshot

from . import approval, state
from .errors import ControlError, is_disabled, unknown_backend
from .events import OperatorActed
from .journal import Entry, Journal, Listener

NAME: Final = "onemcp"

APPROVAL: Final = 30.0
"""How long it may take to write down an approval, in seconds."""

MOST_SAID: Final = 1000
"""How much is written down of what has been approved, in characters."""


class Action(StrEnum):
    """What may be done with a backend."""

    STOP = "stop"
    START = "start"
    RESTART = "restart"
    RESET = "reset"


ACTIONS: Final = frozenset(action.value for action in Action)


class Operator(Protocol):
    """Who does something with a backend; each raises a SupervisionError where it can't."""

    async def stop(self, name: str) -> None:
        """Stop a backend, which stays down."""

    async def start(self, name: str) -> None:
        """Start a backend that is down."""

    async def restart(self, name: str) -> None:
        """Stop a backend and start it."""

    async def reset(self, name: str) -> None:
        """Let calls to a backend through again."""


class Governed(Protocol):
    """What of a gateway is operated."""

    @property
    def configuration(self) -> Configuration:
        """What is in force."""

    @property
    def multiplexer(self) -> Multiplexer:
        """What requests are dispatched to."""

    @property
    def sessions(self) -> Sessions:
        """The sessions of legacy clients."""

    @property
    def reloader(self) -> Reloader | None:
        """What reads the configuration file, if there is one."""

    @property
    def operator(self) -> Operator:
        """Who does something with the backends."""

    @property
    def url(self) -> str:
        """The address that clients are given."""

    @property
    def shed(self) -> Mapping[str, int]:
        """How much was refused for limits since the start, by what it was."""

    def snapshot(self) -> TreeSnapshot:
        """Return the state of the supervision tree."""


@attrs.define
class Control:
    """The operations. What they return is what JSON has.

    Attributes:
        gateway: What is operated.
        journal: The events.
        version: The version of onemcp.
        file: The configuration file, if there is one.
        on_event: Takes what operators do.
    """

    gateway: Governed
    journal: Journal
    version: str
    file: Path | None
    on_event: Callable[[OperatorActed], object]
    _started: float = attrs.field(init=False, factory=time.time)
    _begun: float = attrs.field(init=False, factory=time.monotonic)

    # --- what there is -------------------------------------------------------------------------

    def instance(self) -> dict[str, Any]:
        """Tell which onemcp this is."""
        return {
            "name": NAME,
            "version": self.version,
            "pid": os.getpid(),
            "url": self.gateway.url,
            "config": None if self.file is None else str(self.file),
            "started": round(self._started, 3),
            "uptime": round(time.monotonic() - self._begun, 3),
        }

    def status(self) -> dict[str, Any]:
        """Tell everything about the state: the instance, its configuration, backends and tree."""
        tree = self.gateway.snapshot()
        return {
            "instance": self.instance(),
            "configuration": self._configuration(),
            "backends": self._backends(tree),
            "sessions": len(self.gateway.sessions),
            "inFlight": self.gateway.multiplexer.in_flight,
            "queued": self.gateway.multiplexer.admission.queued,
            "shed": dict(self.gateway.shed),
            "shedding": state.shedding_of(self.gateway.multiplexer.admission.shedding),
            "tree": state.tree_of(tree),
        }

    def backends(self) -> list[dict[str, Any]]:
        """Tell about all backends, in the order of the configuration."""
        return self._backends(self.gateway.snapshot())

    def backend(self, name: str) -> dict[str, Any]:
        """Tell about one backend.

        Raises:
            ControlError: There is none of the name.
        """
        settings, tree = self._settings(name), self.gateway.snapshot()
        child = state.supervisors_of(tree).get(name)
        return state.backend_of(settings, self._running(name), child, tree.at)

    def logs(self, name: str, count: int) -> list[Entry]:
        """Return the last events of a backend: what its program has written, and what became of it.

        Raises:
            ControlError: There is none of the name.
        """
        return self.journal.last(self._settings(name).name, count)

    def listening(self, backend: str | None = None) -> AbstractContextManager[Listener]:
        """Hear events as they happen.

        Raises:
            ControlError: There is no backend of the name.
        """
        if backend is not None:
            self._settings(backend)
        return self.journal.listening(backend)

    # --- what may be done ----------------------------------------------------------------------

    async def act(self, action: Action, name: str, by: str) -> dict[str, Any]:
        """Stop, start, restart or reset a backend; tell about it when that is done.

        A backend that doesn't come up is no error here: its state says so. What has begun is
        finished, even if whoever asked for it goes away.

        Args:
            action: What to do.
            name: With which backend.
            by: Who asks for it.

        Raises:
            ControlError: There is none of the name, or it can't be done now.
        """
        if not self._settings(name).enabled:
            raise is_disabled(name)
        outcome = "refused"
        try:
            # Bounded, like all that is shielded: by what each step may take at most.
            deadline = trio.current_time() + self._patience(name)
            with trio.CancelScope(shield=True, deadline=deadline):
                await getattr(self.gateway.operator, action.value)(name)
            told = self.backend(name)
            outcome = told["state"]
        except SupervisionError as error:
            raise ControlError(409, "not_possible", f"{action} {name}: {error}") from error
        finally:
            self.on_event(OperatorActed(action.value, by, name, outcome))
        return told

    def pins(self, name: str) -> dict[str, Any]:
        """Tell what of a backend's tools and prompts is not as it was approved.

        Raises:
            ControlError: There is none of the name.
        """
        settings = self._settings(name)
        backend = self._running(name)
        pins = None if backend is None else backend.pins
        return approval.told(settings, pins)

    async def approve(self, name: str, wanted: bytes, by: str) -> dict[str, Any]:
        """Approve tools and prompts as they are; tell what has been approved.

        Args:
            name: The backend.
            wanted: Which, and how they were shown: see `approval.read`.
            by: Who asks for it.

        Raises:
            ControlError: There is none of the name, or it can't be done now.
        """
        backend = self._running(self._settings(name).name)
        if backend is None or backend.pins is None:
            raise is_disabled(name)
        chosen = approval.read(wanted)
        outcome = "refused"
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + APPROVAL):
                approved = await approval.carry_out(backend.pins, chosen)
            outcome = ", ".join(each["name"] for each in approved)[:MOST_SAID] or "nothing"
        finally:
            self.on_event(OperatorActed("approve", by, name, outcome))
        return {"backend": name, "approved": approved}

    async def reload(self, by: str) -> dict[str, Any]:
        """Read the configuration file now, and put it in force if it is good.

        Args:
            by: Who asks for it.

        Raises:
            ControlError: There is no file.
        """
        reloader = self.gateway.reloader
        if reloader is None:
            raise ControlError(409, "no_file", "onemcp runs without a configuration file")
        outcome = await reloader.reload()
        self.on_event(OperatorActed("reload", by, None, outcome.value))
        return {"outcome": outcome.value} | (
            {"problems": self._problems()} if outcome is Reloaded.REJECTED else {}
        )

    # --- details -------------------------------------------------------------------------------

    def _configuration(self) -> dict[str, Any]:
        problems = self._problems()
        file = None if self.file is None else str(self.file)
        reloader = self.gateway.reloader
        suspended = reloader is not None and reloader.suspended
        return {
            "file": file,
            "ok": not problems,
            "problems": problems,
            "reloadSuspended": suspended,
        }

    def _problems(self) -> list[dict[str, Any]]:
        reloader = self.gateway.reloader
        problem = None if reloader is None else reloader.problem
        return [] if problem is None else [attrs.asdict(each) for each in problem.problems]

    def _backends(self, tree: TreeSnapshot) -> list[dict[str, Any]]:
        children = state.supervisors_of(tree)
        return [
            state.backend_of(each, self._running(each.name), children.get(each.name), tree.at)
            for each in self._all()
        ]

    def _running(self, name: str) -> Backend | None:
        return self.gateway.multiplexer.backends.get(name)

    def _all(self) -> Sequence[config.Backend]:
        return self.gateway.configuration.backends

    def _settings(self, name: str) -> config.Backend:
        settings = self.gateway.configuration.backend(name)
        if settings is None:
            raise unknown_backend(name, (each.name for each in self._all()))
        return settings

    def _patience(self, name: str) -> float:
        timeouts = self._settings(name).timeouts
        return (
            self.gateway.configuration.server.shutdown_grace + timeouts.stop + timeouts.start + 30
        )
