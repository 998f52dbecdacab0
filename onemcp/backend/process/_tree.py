"""End a process and everything it has started, without blocking the event loop.

Each stage sends one signal to the group and to every process found by the marker, waits until
all of them are gone, and looks again until nothing is found. It ends early when nothing is
left and late when its time is up. The leader must not have been reaped before: as a zombie it
keeps its id, and with it the id of its group, from being given to another process.
"""

import contextlib
import os
import signal

import trio
from attrs import define, field

from onemcp.backend.process import _sweep

_CALM = 2  # scans in a row which must find nothing: one may hit a process between fork and exec
_PAUSE = 0.005  # seconds between two scans
_POLL = 0.02  # seconds; where there are no pidfds


@define
class Tree:
    """A process, its group, and what carries its marker.

    Attributes:
        leader: The id of the process, its group and its session.
        marker: The identity of this incarnation.
    """

    leader: int
    marker: str
    _seen: dict[int, int] = field(factory=dict[int, int], init=False)

    async def look(self) -> bool:
        """Look for the tree and remember it, for some of it may soon have lost its parent.

        Returns:
            Whether the scan could be made.
        """
        with contextlib.suppress(OSError):  # no file descriptor left, perhaps
            self._seen = await trio.to_thread.run_sync(
                _sweep.find, self.marker, self.leader, self._seen
            )
            return True
        await trio.lowlevel.checkpoint()
        return False

    async def end(self, signum: signal.Signals) -> None:
        """Signal the tree until nothing of it is left. The caller bounds the time."""
        looked = await self.look()
        self.signal_group(signum)
        calm = 0
        asked: set[tuple[int, int]] = set()
        while True:
            if looked:
                calm = 0 if self._seen else calm + 1
            if calm == _CALM:
                return
            for process in self._seen.items() - asked:
                _sweep.send(signum, *process)
            asked.update(self._seen.items())
            await _gone(self._seen)
            self._reap(self._seen)
            await trio.sleep(_PAUSE)
            looked = await self.look()

    @property
    def survivors(self) -> tuple[int, ...]:
        """What was found last, unless nothing was left."""
        return tuple(self._seen)

    def signal_group(self, signum: signal.Signals) -> None:
        """Signal the whole group at once, which no fork can race."""
        # PermissionError is what macOS says of a group with nothing but zombies in it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, signum)

    def _reap(self, pids: dict[int, int]) -> None:
        # If the gateway is process 1 of a container, or a subreaper, orphans have become its
        # children. Trio knows nothing of them, and nobody else will reap them.
        for pid in pids.keys() - {self.leader}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


async def wait_exited(process: trio.Process) -> None:
    """Wait until a child has exited, without reaping it where the system permits that."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # none left: trio has an own one, or a thread
            handle = os.pidfd_open(process.pid)
            try:
                await trio.lowlevel.wait_readable(handle)
            finally:
                os.close(handle)
            return
    await process.wait()


async def _gone(pids: dict[int, int]) -> None:
    # Waits for processes which are not our children, too. Ids which are reused meanwhile cost
    # another scan and nothing else: the stage is bounded by its caller.
    await trio.lowlevel.checkpoint()
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except (AttributeError, OSError):
            await trio.sleep(_POLL)
            return
        try:
            await trio.lowlevel.wait_readable(handle)
        finally:
            os.close(handle)
