"""The supervisor of a known list of children, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onemcp.supervision._base import BaseSupervisor
from onemcp.supervision._mailbox import DeleteChild, Reconfigure
from onemcp.supervision._policy import AutoShutdown, Escalate, Pause, Policy
from onemcp.supervision._spec import check_siblings
from onemcp.supervision._strategy import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onemcp.supervision._backoff import Backoff
    from onemcp.supervision._events import Event
    from onemcp.supervision._intensity import Intensity
    from onemcp.supervision._reload import ReloadReport
    from onemcp.supervision._spec import ChildSpec


class Supervisor(BaseSupervisor):
    """Start children in order, restart those that end, stop them in reverse order.

    Run it with ``await nursery.start(supervisor.run)``.
    """

    def __init__(
        self,
        name: str,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        on_exhaustion: Escalate | Pause | None = None,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Describe a supervisor; nothing runs yet.

        Args:
            name: Its name; the path of a root.
            children: Its children in start order.
            strategy: Which siblings are restarted with a crashed child.
            intensity: How many restarts are too many; by default more than 3 in 5 seconds.
            backoff: How long to wait before a restart; by default from 0.1 to 30 seconds.
            on_exhaustion: What to do when there were too many; by default escalate.
            auto_shutdown: When the end of significant children ends the supervisor.
            on_event: Receives every event of this supervisor and of all below it; must not block.

        Raises:
            SpecError: The children cannot be siblings here.
        """
        policy = Policy.of(strategy, intensity, backoff, on_exhaustion, auto_shutdown)
        super().__init__(name, children, policy, on_event)

    async def delete_child(self, child_id: str) -> None:
        """Forget a stopped child.

        Args:
            child_id: Which child.

        Raises:
            ChildRunningError: It is not stopped.
            UnknownChildError: There is no such child.
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
        """
        await self._ask(DeleteChild(id=child_id))

    async def reconfigure(self, specs: Iterable[ChildSpec]) -> ReloadReport:
        """Move to another list of children, touching only what differs by id or version.

        Removed children are stopped. Changed ones are stopped and started from the new spec, or,
        where both old and new say that they can coexist, replaced without a gap: start the new
        one, await its ``ready``; then, after the report, await the old one's ``drain`` and stop it.
        If the new one does not become ready, the old one is kept. From then on
        these specs are what a run of this supervisor starts from. A caller that is cancelled
        stops waiting; the reload is carried out nevertheless.

        Args:
            specs: All children wanted, in start order.

        Returns:
            What was done, and what failed and why.

        Raises:
            SpecError: The children cannot be siblings here; nothing was changed.
            SupervisorNotRunningError: The supervisor does not run, or ended during the reload.
        """
        wanted = tuple(specs)
        check_siblings(wanted, self.policy.auto_shutdown)
        report: ReloadReport = await self._ask(Reconfigure(specs=wanted))
        return report
