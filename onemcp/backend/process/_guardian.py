"""The process that outlives the gateway, and leaves nothing of it behind."""

import os
import subprocess
import sys

import trio
from attrs import field, frozen

from onemcp.backend.process import _sweep
from onemcp.backend.process._errors import GuardianError, describe_exit
from onemcp.backend.process._spec import ProcessInstance

_GREETING = 10.0  # seconds until the guardian must be ready
_PARTING = _sweep.LIMIT + 5.0  # seconds until a dismissed guardian is killed
_BURIAL = 1.0  # seconds to reap a guardian that had to be killed
_COMPLAINT = 4096  # bytes of what a guardian says that fails to start
# An interpreter that is linked to a shared library outside of the usual places needs these.
_LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def _default_command() -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", _sweep.__file__)


@frozen
class Guardian:
    """Run the guardian process, which kills all processes of an instance once the gateway is gone.

    It must be started before the first backend and stopped after the last one.

    Attributes:
        instance: Whose processes it watches.
        command: The program to run; the identity of the instance is appended. A frozen executable
            names itself here, with a hidden command that calls `guardian_main`.
    """

    instance: ProcessInstance
    command: tuple[str, ...] = field(factory=_default_command)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Then everything of the instance that is still alive is ended.

        Acknowledges with the id of the guardian process.

        Args:
            task_status: How to acknowledge.

        Raises:
            GuardianError: The guardian could not be started, or died.
        """
        # Only this end keeps the guardian waiting. Descriptors of os.pipe() are not inherited, so
        # it is closed when the gateway is gone, in whatever way.
        there, here = os.pipe()
        try:
            process = await self._open(there)
        except BaseException:
            os.close(here)
            raise
        try:
            await _greet(process)
            task_status.started(process.pid)
            code = await process.wait()
            raise GuardianError(f"the guardian process {process.pid} {describe_exit(code)}")
        finally:
            os.close(here)
            with trio.move_on_after(_PARTING, shield=True):
                await process.wait()
            with trio.move_on_after(_BURIAL, shield=True):
                process.kill()
                await process.wait()

    async def _open(self, stdin: int) -> trio.Process:
        environ = self.instance.environ
        env = {name: environ[name] for name in _LOADER if name in environ}
        try:
            return await trio.lowlevel.open_process(
                [*self.command, self.instance.id],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=env | self.instance.lineage(),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise GuardianError(f"cannot start the guardian {self.command}: {error}") from error
        finally:
            os.close(stdin)


async def _greet(process: trio.Process) -> None:
    said = b""
    if process.stdout is None:
        raise TypeError("the guardian must have a pipe")
    with trio.move_on_after(_GREETING):
        async with process.stdout as stream:
            while not said.endswith(_sweep.READY) and len(said) < _COMPLAINT:
                chunk = await stream.receive_some(_COMPLAINT)
                if not chunk:
                    break
                said += chunk
    if not said.endswith(_sweep.READY):
        words = said.decode(errors="replace").strip() or "it said nothing"
        raise GuardianError(f"the guardian did not start: {words}")
