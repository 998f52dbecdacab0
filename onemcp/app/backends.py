"""The backends of a gateway: what runs each of them, and which of them clients see.

Theory of operation: what is wanted is a supervised child for each enabled backend, and the version
of a child is how its backend is configured. So a reload touches what differs: the supervisor starts
the new one beside the old one, and clients see the new one from the moment that it is up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import attrs
import trio

from onemcp import config
from onemcp.backend import Backend, Roster
from onemcp.config import Configuration
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSpec, ReloadReport, SupervisionError, Supervisor

from .building import Builder
from .replicas import ReplicaSet
from .trees import replaceable, see_off


class Backends:
    """All backends that are enabled, by their names.

    Attributes:
        supervisor: Runs them.
    """

    def __init__(
        self, configuration: Configuration, multiplexer: Multiplexer, builder: Builder
    ) -> None:
        """Describe those of a configuration; nothing runs yet.

        Args:
            configuration: What is wanted.
            multiplexer: Who shows them to clients.
            builder: Makes them.
        """
        self._multiplexer = multiplexer
        self._builder = builder
        self._backends: dict[str, Backend] = {}
        self._rosters: dict[str, Roster] = {}
        self._replicated: dict[str, tuple[ReplicaSet, ChildSpec]] = {}
        self._specs: dict[str, ChildSpec] = {}
        self.supervisor = Supervisor("backends", self._prepare(configuration))
        self._show()

    def __getitem__(self, name: str) -> Backend:
        """Return the backend that has a name now."""
        return self._backends[name]

    def replicas(self, name: str) -> ReplicaSet | None:
        """Return what runs the replicas of the backend that has a name now, if it has any."""
        known = self._replicated.get(name)
        return None if known is None or known[0].backend is not self[name] else known[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._backends)

    def __repr__(self) -> str:
        return f"<Backends: {', '.join(self)}>"

    def gone(self, new: Configuration) -> Sequence[str]:
        """Return the names of those that there are no more in a new configuration."""
        enabled = {each.name for each in new.backends if each.enabled}
        return [name for name in self if name not in enabled]

    async def move(self, new: Configuration, grace: float) -> ReloadReport:
        """Let a new configuration be in force, touching only what differs.

        Those that have changed are replaced once the new ones are up, and drained, replicas one
        after the other; those that don't come up stay as they were.

        Args:
            new: What is wanted.
            grace: How long calls in flight get of what is removed, in seconds.

        Returns:
            What was done, and what failed and why.
        """
        specs = self._prepare(new)
        leaving: list[Backend | Roster] = []
        for name in self.gone(new):
            self._replicated.pop(name, None)
            backend, roster = self._backends.pop(name), self._rosters.pop(name, None)
            leaving.append(backend if roster is None else roster)
        self._show()
        await see_off(leaving, grace)
        report = await self.supervisor.reconfigure(specs)
        report = await self._move_replicas(new, grace, report)
        self._show()
        return report

    async def _move_replicas(
        self, new: Configuration, grace: float, report: ReloadReport
    ) -> ReloadReport:
        """Change those of which there are several where they are, and report that as well."""
        replaced: list[str] = []
        failed: dict[str, BaseException] = {}

        async def move(replicas: ReplicaSet, settings: config.Backend) -> None:
            try:
                if await replicas.move(settings, grace):
                    replaced.append(settings.name)
            except SupervisionError as error:
                failed[settings.name] = error

        async with trio.open_nursery() as nursery:
            for settings in new.backends:
                replicas, spec = self._replicated.get(settings.name, (None, None))
                if replicas is not None and self._specs.get(settings.name) is spec:
                    nursery.start_soon(move, replicas, settings.running)
        touched = {*replaced, *failed}
        return attrs.evolve(
            report,
            replaced=(*report.replaced, *replaced),
            kept=tuple(name for name in report.kept if name not in touched),
            failed={**report.failed, **failed},
        )

    def _prepare(self, configuration: Configuration) -> list[ChildSpec]:
        """Return the specs of all enabled backends, of required ones first.

        What has not changed stays as it is.
        """
        specs = {}
        for settings in configuration.backends:
            if settings.enabled:
                running = settings.running
                specs[settings.name] = self._kept(running) or self._spec(running)
        self._specs = specs
        required = {each.name for each in configuration.backends if each.required}
        return sorted(specs.values(), key=lambda spec: spec.id not in required)

    def _kept(self, settings: config.Backend) -> ChildSpec | None:
        """Return what runs a backend already; replicas go on, and are changed where they are."""
        replicas = self.replicas(settings.name)
        if settings.is_replicated and replicas is not None:
            stays = replicas.supervisor.running or replicas.settings == settings
            return self._replicated[settings.name][1] if stays else None
        spec = self._specs.get(settings.name)
        return spec if spec is not None and spec.version == settings else None

    def _spec(self, settings: config.Backend) -> ChildSpec:
        if settings.is_personal:
            roster = self._builder.personal.roster(settings)
            if settings.name not in self._backends:
                self._set_roster(roster)
            return self._builder.personal.spec(roster, self._take_over_users)
        replicas = self._builder.replicate(settings) if settings.is_replicated else None
        if replicas is None:
            backend, supervisor = self._builder.build(settings)
        else:
            backend, supervisor = replicas.backend, replicas.supervisor
        self._backends.setdefault(settings.name, backend)
        spec = replaceable(supervisor, backend, partial(self._take_over, backend))
        if replicas is not None:
            self._replicated[settings.name] = replicas, spec
        return spec

    def _set_roster(self, roster: Roster) -> None:
        self._backends[roster.name], self._rosters[roster.name] = roster.stand_in, roster

    async def _take_over_users(self, roster: Roster) -> None:
        """Let users have the backend of a roster instead of the one of the same name."""
        self._set_roster(roster)
        self._show()
        await trio.lowlevel.checkpoint()

    def _take_over(self, backend: Backend) -> None:
        """Let a new backend take the place of the one of the same name."""
        self._backends[backend.name] = backend
        self._show()

    def _show(self) -> None:
        """Let clients see the backends that are wanted, in configuration order."""
        backends = [self._backends[name] for name in self._specs]
        rosters = (self._rosters.get(backend.name) for backend in backends)
        shown = [each for each in rosters if each is not None and each.stand_in in backends]
        self._multiplexer.replace(backends, shown)
