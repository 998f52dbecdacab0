"""A backend of several scripted servers, supervised as in the gateway."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp import config
from onemcp.app.operating import BackendOperator
from onemcp.app.replicas import UPDATES, ReplicaSet
from onemcp.app.trees import supervise
from onemcp.backend import Identity, Replica, ReplicatedBackend
from onemcp.multiplexer import View
from onemcp.supervision import ChildSpec, Supervisor
from tests.multiplexer.fakes import FakeConnection, Server, World

IDENTITY = Identity(Raw(b'{"name":"onemcp"}'))


@attrs.define
class Fleet:
    """Replicas of the backend `alpha`, each of which is a scripted server.

    Attributes:
        world: The multiplexer that shows them.
        make: Makes the server that stands behind a replica: of a key, as it is configured.
        servers: The latest of each key.
        made: The keys of all that were made, in order.
        replicas: What runs them.
        operator: Who stops and starts them.
    """

    world: World
    make: Any
    servers: dict[str, Server] = attrs.field(factory=dict)
    made: list[str] = attrs.field(factory=list)
    replicas: ReplicaSet = attrs.field(init=False)
    operator: BackendOperator = attrs.field(init=False)

    @property
    def whole(self) -> ReplicatedBackend:
        return self.replicas.backend

    @property
    def calls(self) -> dict[str, int]:
        """How many calls each has got."""
        return {key: len(server.calls) for key, server in self.servers.items()}

    @property
    def running(self) -> list[str]:
        """The keys of all that are supervised."""
        children = self.replicas.supervisor.which_children()
        return [child.id for child in children if child.id != UPDATES]

    def server(self, number: int) -> Server:
        return self.servers[str(number)]

    def settings(self, **changes: Any) -> config.Backend:
        """Return how it is configured, but for what is given here."""
        return attrs.evolve(Server().config, prefix="alpha", **{"replicas": 3, **changes})

    async def start(self, **changes: Any) -> View:
        settings = self.settings(**changes)
        whole = ReplicatedBackend(
            settings,
            observer=self.world.multiplexer,
            identity=IDENTITY,
            on_event=self.world.events.append,
        )
        self.replicas = ReplicaSet(settings, whole, self._build)
        backends = Supervisor("backends", [ChildSpec.for_supervisor(self.replicas.supervisor)])
        self.operator = BackendOperator(
            backends, lambda _: whole, lambda: 1.0, lambda _: self.replicas
        )
        await self.world.nursery.start(backends.run)
        self.world.multiplexer.replace([whole])
        await wait_all_tasks_blocked()
        view = self.world.multiplexer.view()
        assert view is not None
        return view

    def of(self, kind: type) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.world.events if isinstance(event, kind)]

    def _build(
        self, settings: config.Backend, key: str, whole: ReplicatedBackend
    ) -> tuple[Replica, Supervisor]:
        server = self.servers[key] = self.make(key, settings)
        self.made.append(key)
        replica = Replica(
            settings,
            key=key,
            whole=whole,
            connect=partial(_connect, server),
            on_event=partial(whole.told, key),
        )
        return replica, supervise(key, replica, None)


def _connect(server: Server, setup: Any) -> FakeConnection:
    return FakeConnection(server, setup.notification_handler)


async def settled() -> None:
    await wait_all_tasks_blocked()
    await trio.lowlevel.checkpoint()
