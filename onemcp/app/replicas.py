"""What runs the replicas of a backend: each by itself, and changed one after the other.

Theory of operation: each replica has a supervisor of its own, with its own allowance of restarts,
under one supervisor for all of them. A restart that an operator asks for, and a reload, go through
the replicas one by one, and wait for each to be up again before they touch the next one. So at any
time all but one take calls; and where one doesn't come up, what would have felled all of them is
noticed at the first. What is only added fells nobody: it is not waited for, and is tried as any
backend is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

import trio

from onemcp import config
from onemcp.backend import Replica, ReplicatedBackend
from onemcp.protocol.errors import BackendUnavailable
from onemcp.supervision import ChildSpec, NotReadyError, SupervisionError, Supervisor

from .operating import BackendOperator
from .trees import ready, replaceable, see_off

UPDATES: Final = "resource updates"
"""The child that tells of changed resources; no replica is called so, for no host can be."""


class Build(Protocol):
    """Makes a replica, and what runs it."""

    def __call__(
        self, settings: config.Backend, key: str, whole: ReplicatedBackend
    ) -> tuple[Replica, Supervisor]:
        """Make one of a backend that has a key."""


class ReplicaSet:
    """The replicas of one backend, and what runs them.

    Attributes:
        settings: How the backend is configured.
        backend: What stands for all of them.
        supervisor: Runs them.
    """

    def __init__(self, settings: config.Backend, backend: ReplicatedBackend, build: Build) -> None:
        """Describe those that are configured; nothing runs yet.

        Args:
            settings: How the backend is configured.
            backend: What stands for all of them.
            build: Makes one.
        """
        self.settings = settings
        self.backend = backend
        self._build = build
        self._specs: dict[str, ChildSpec] = {}
        for key, each in settings.of_replicas().items():
            replica, self._specs[key] = self._make(key, each)
            backend.add(replica)
        self._updates = ChildSpec(id=UPDATES, start=backend.updates.run)
        self.supervisor = Supervisor(settings.name, self._children())

    async def move(self, settings: config.Backend, grace: float) -> bool:
        """Let other settings be in force: grow, change one after the other, shrink.

        What doesn't come up takes nobody's place, and the rest stays as it is then.

        Args:
            settings: How the backend is configured from now on.
            grace: How long calls in flight get at what is removed, in seconds.

        Returns:
            Whether any replica was added, changed or removed.

        Raises:
            NotReadyError: A replica did not come up that was to take the place of another one.
            SupervisionError: They can't be changed now.
        """
        self.settings = self.backend.config = settings
        wanted, before = settings.of_replicas(), dict(self._specs)
        gone = [key for key in before if key not in wanted]
        added = {key: each for key, each in wanted.items() if key not in before}
        if added:
            await self._grow(added)
        if added and gone:
            await self._make_sure_of(added)
        for key, each in wanted.items():
            if self._specs[key].version != each:
                await self._change(key, each)
        if gone:
            self._specs = {key: self._specs[key] for key in wanted}
            await see_off([self.backend.remove(key) for key in gone], grace)
            await self._settle()
        return self._specs != before

    async def restart(self, grace: Callable[[], float]) -> None:
        """Stop and start them one after the other.

        Args:
            grace: Tells how long calls in flight get, in seconds.

        Raises:
            NotReadyError: One did not come up, and the others were left as they are.
            SupervisionError: They can't be restarted now.
        """
        operator = BackendOperator(self.supervisor, self.backend.replicas.__getitem__, grace)
        for key, replica in list(self.backend.replicas.items()):
            await operator.restart(key)
            if not replica.is_up:
                raise NotReadyError(
                    f"replica {key!r} did not come up again: {replica.failure or 'it is starting'}"
                    "; the others were left as they are"
                )

    async def _grow(self, added: Mapping[str, config.Backend]) -> None:
        """Add replicas, each of which takes calls as soon as it is up, whenever that is."""
        for key, settings in added.items():
            replica, self._specs[key] = self._make(key, settings)
            self.backend.add(replica)
        await self._settle()

    async def _make_sure_of(self, added: Iterable[str]) -> None:
        """Wait until replicas are up that are to take the place of others.

        Raises:
            NotReadyError: Some didn't come up, and are not there any more.
        """
        failures: dict[str, BackendUnavailable] = {}

        async def wait_for(key: str) -> None:
            try:
                await ready(self.backend.replicas[key])
            except BackendUnavailable as error:
                failures[key] = error

        async with trio.open_nursery() as nursery:
            for key in added:
                nursery.start_soon(wait_for, key)
        if not failures:
            return
        for key in failures:
            del self._specs[key]
            self.backend.remove(key)
        await self._settle()
        reasons = (f"replica {key!r}: {failure}" for key, failure in sorted(failures.items()))
        raise NotReadyError("; ".join(reasons))

    async def _change(self, key: str, settings: config.Backend) -> None:
        """Let a replica take the place of the one with its key, once it is up.

        Raises:
            NotReadyError: It didn't come up, and the old one is kept.
        """
        old = self._specs[key]
        _, self._specs[key] = self._make(key, settings)
        try:
            await self._settle()
        except SupervisionError:
            self._specs[key] = old
            raise

    async def _settle(self) -> None:
        report = await self.supervisor.reconfigure(self._children())
        for key, error in report.failed.items():
            raise NotReadyError(f"replica {key!r}: {error}") from error

    def _children(self) -> list[ChildSpec]:
        return [self._updates, *self._specs.values()]

    def _make(self, key: str, settings: config.Backend) -> tuple[Replica, ChildSpec]:
        replica, supervisor = self._build(settings, key, self.backend)
        return replica, replaceable(supervisor, replica, partial(self.backend.add, replica))

    def __repr__(self) -> str:
        return f"<ReplicaSet of {self.backend!r}>"
