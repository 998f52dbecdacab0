"""How long sessions at a backend last.

Theory of operation: what runs a connection is told of the acknowledgement on its way to whoever
waits for it. From there on a legacy connection carries a session, and with it the session ends. A
modern one carries none.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from onemcp import config
from onemcp.protocol.revisions import Era
from onemcp.telemetry import snake_case

from .connection import Connection, ConnectionLost, ServerDescription
from .events import BackendSessionEnded
from .tracing import attributes_of


async def run_measured(
    connection: Connection,
    settings: config.Backend,
    on_event: Callable[[BackendSessionEnded], object],
    *,
    task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a connection, and tell how long the session on it has lasted, if there was one.

    Args:
        connection: The connection.
        settings: How the backend is configured.
        on_event: Told when the session is over.
        task_status: Told what was agreed on.

    Raises:
        ConnectionLost: The connection broke or could not be made.
    """
    agreed = _Agreed(task_status)
    failure: str | None = None
    try:
        await connection.run(task_status=agreed)
    except ConnectionLost as lost:
        failure = snake_case(type(lost).__name__)
        raise
    finally:
        server = agreed.server
        if server is not None and server.era is Era.LEGACY:
            on_event(
                BackendSessionEnded(
                    settings.name,
                    revision=server.revision,
                    seconds=trio.current_time() - agreed.since,
                    failure=failure,
                    way={**attributes_of(settings.transport), "onemcp.backend": settings.name},
                )
            )


@attrs.define
class _Agreed(trio.TaskStatus[ServerDescription]):
    """Takes note of the acknowledgement, and hands it on.

    Attributes:
        server: What was agreed on, or None before that.
        since: When it was, by Trio's clock.
    """

    _status: trio.TaskStatus[ServerDescription]
    server: ServerDescription | None = attrs.field(default=None, init=False)
    since: float = attrs.field(default=0.0, init=False)

    def started(self, value: ServerDescription | None = None) -> None:
        """Take note of it."""
        assert value is not None  # noqa: S101 - connections acknowledge with it
        self.server, self.since = value, trio.current_time()
        self._status.started(value)
