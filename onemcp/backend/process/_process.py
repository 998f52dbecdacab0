"""Start a process, and see to it that nothing of it is left afterwards.

Theory of operation
===================

One task owns the end of a process, whatever brings it about::

    running --(left the block)--> closing stdin --(time is up)--+
       |                               |                        |
       +------(the leader exits)-------+--> SIGTERM --> SIGKILL --> ended

*SIGTERM* and *SIGKILL* are stages of the whole tree: the group of the process and whatever
carries its marker in the environment (see `_sweep`). A stage in which nothing is found is over
after two scans of /proc. So the orphans of a crash are ended at once, while the body of the block
is still running: their end closes the last copies of stdout and stderr, the reader sees the end of
the stream, and `Process.wait` returns when stderr was read to its end and the leader was reaped.

That task and the reader of stderr are shielded from cancellation. Leaving the block only sets an
event; the nursery then waits for both, which end by themselves in a bounded time. The
body is not shielded. An exception of the body leaves the block as it is, not in a group.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable

import trio
from trio.lowlevel import FdStream as Pipe

from onemcp.backend.process._errors import ProcessLeftBehindError, describe_exit, start_error
from onemcp.backend.process._launch import command_line
from onemcp.backend.process._spec import ProcessInstance, ProcessSpec, StopPolicy, new_identity
from onemcp.backend.process._stderr import StderrLimits, StderrLog
from onemcp.backend.process._tree import Tree, wait_exited

_CHUNK = 65536  # bytes read at once
_GATHERED = 0.005  # seconds for which what a program says on stderr gathers in the pipe
_DRAIN = 1.0  # seconds to read what an ended process has left in its pipes
_CLOSE = 1.0  # seconds to close pipes, which does not block
_DEFAULT_STOP = StopPolicy()
_DEFAULT_LIMITS = StderrLimits()


def _discard(_: str) -> None:
    """Report nothing."""


class Process:
    """A running program. Made by `open_process`.

    Attributes:
        spec: What was started.
        stdin: Where the program reads from.
        stdout: What the program writes.
        pid: The id of the process and of its group.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        process: trio.Process,
        *,
        marker: str,
        stop: StopPolicy,
        on_stderr: Callable[[str], object],
        limits: StderrLimits,
    ) -> None:
        stdin, stdout = process.stdin, process.stdout
        if not (isinstance(stdin, Pipe) and isinstance(stdout, Pipe)) or process.stderr is None:
            raise TypeError("the process must have pipes")
        self.spec = spec
        self.stdin: Pipe = stdin
        self.stdout: Pipe = stdout
        self.pid: int = process.pid
        self._stderr: trio.abc.ReceiveStream = process.stderr
        self._process = process
        self._tree = Tree(process.pid, marker)
        self._stop = stop
        self._on_stderr = on_stderr
        self._log = StderrLog(limits)
        self._left = trio.Event()
        self._stderr_read = trio.Event()
        self._stderr_scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._code: int | None = None
        self._left_behind: ProcessLeftBehindError | None = None

    def __repr__(self) -> str:
        state = "running" if self._code is None else describe_exit(self._code)
        return f"<Process {self.spec.command!r}, pid {self.pid}: {state}>"

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of stderr. Complete once `wait` has returned."""
        return self._log.tail

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while anything of the process is alive."""
        return self._code

    async def wait(self) -> int:
        """Wait until the program has exited and nothing of it is left.

        Returns:
            The exit code; negative for the signal that killed it.

        Raises:
            ProcessLeftBehindError: The program survives even SIGKILL.
        """
        await self._ended.wait()
        if self._code is None:
            raise ProcessLeftBehindError(self.spec.command, self._tree.survivors)
        return self._code

    def _leave(self) -> None:
        self._left.set()

    async def _supervise(self) -> None:
        # Bounded from the moment the leader exits or the block is left.
        with trio.CancelScope(shield=True):
            try:
                await self._wait_for_the_end()
                await self._end_tree()
            finally:
                self._release()

    async def _wait_for_the_end(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_stdin, nursery)
            await wait_exited(self._process)
            nursery.cancel_scope.cancel()

    async def _close_stdin(self, nursery: trio.Nursery) -> None:
        await self._left.wait()
        await self._tree.look()
        await self.stdin.aclose()
        # A full pipe must not keep the program from ending by itself.
        nursery.start_soon(self._drain_stdout)
        await trio.sleep(self._stop.eof)
        nursery.cancel_scope.cancel()

    async def _drain_stdout(self) -> None:
        with contextlib.suppress(
            trio.BusyResourceError, trio.ClosedResourceError, trio.BrokenResourceError
        ):
            while await self.stdout.receive_some(_CHUNK):
                pass
        await trio.lowlevel.checkpoint()

    async def _end_tree(self) -> None:
        stages = ((signal.SIGTERM, self._stop.terminate), (signal.SIGKILL, self._stop.kill))
        for signum, patience in stages:
            with trio.move_on_after(patience) as scope:
                await self._tree.end(signum)
            if not scope.cancelled_caught:
                break
        else:
            self._left_behind = ProcessLeftBehindError(self.spec.command, self._tree.survivors)
        with trio.move_on_after(_DRAIN):
            await self._stderr_read.wait()
        self._code = self._process.poll()
        await trio.lowlevel.checkpoint()

    def _release(self) -> None:
        if self._code is None:
            self._tree.signal_group(signal.SIGKILL)
            self._code = self._process.poll()
        self._stderr_scope.cancel()
        self._ended.set()

    async def _read_stderr(self) -> None:
        with self._stderr_scope:
            await self._pump_stderr()
        self._report(self._log.close(trio.current_time()))

    async def _pump_stderr(self) -> None:
        try:
            while True:
                data: bytes | None = None
                with trio.move_on_at(self._log.due):
                    data = bytes(await self._stderr.receive_some(_CHUNK))
                if data == b"":
                    return
                lines = self._log.feed(data or b"", trio.current_time())
                for line in lines:
                    self._on_stderr(line)
                    await trio.lowlevel.checkpoint()  # others wait for one line, and not for 200
                # Read as soon as it is written, a storm would take half of a processor.
                await trio.sleep(_GATHERED)
        finally:
            self._stderr_read.set()

    def _report(self, lines: list[str]) -> None:
        for line in lines:
            self._on_stderr(line)

    async def _close(self) -> None:
        await self.stdin.aclose()
        await self.stdout.aclose()
        await self._stderr.aclose()


@contextlib.asynccontextmanager
async def open_process(
    spec: ProcessSpec,
    *,
    instance: ProcessInstance,
    stop: StopPolicy = _DEFAULT_STOP,
    on_stderr: Callable[[str], object] = _discard,
    limits: StderrLimits = _DEFAULT_LIMITS,
) -> AsyncIterator[Process]:
    """Start a program; end it, and everything it has started, when the block is left.

    However the block is left, the program is stopped in order: stdin is closed, then SIGTERM,
    then SIGKILL, each after the time the policy allows. Cancellation does not shorten this.

    Args:
        spec: What to start.
        instance: The identity of this run of the gateway.
        stop: How patiently to stop it.
        on_stderr: Called with lines of stderr; must not block. What it raises leaves the block.
        limits: How much of stderr is kept and reported.

    Yields:
        The running process.

    Raises:
        ProcessStartError: It could not be started.
        ProcessLeftBehindError: Something survived SIGKILL. If the body raised, a note on its
            exception says so instead.
    """
    process = await _start(spec, instance, stop=stop, on_stderr=on_stderr, limits=limits)
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process._supervise, name=f"end of {spec.command}")  # noqa: SLF001
            nursery.start_soon(process._read_stderr, name=f"stderr of {spec.command}")  # noqa: SLF001
            try:
                yield process
            finally:
                process._leave()  # noqa: SLF001
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        failure = group.exceptions[0]
    finally:
        with trio.move_on_after(_CLOSE, shield=True):
            await process._close()  # noqa: SLF001
    try:
        _settle(failure, process._left_behind)  # noqa: SLF001
    finally:
        del failure  # no cycle through the traceback


def _settle(failure: BaseException | None, left_behind: ProcessLeftBehindError | None) -> None:
    # Outside of any `except`, so that the cause and context of the failure stay as they are.
    if failure is None:
        failure = left_behind
    elif left_behind is not None:
        failure.add_note(str(left_behind))
    try:
        if failure is not None:
            raise failure
    finally:
        del failure


async def _start(
    spec: ProcessSpec,
    instance: ProcessInstance,
    *,
    stop: StopPolicy,
    on_stderr: Callable[[str], object],
    limits: StderrLimits,
) -> Process:
    marker = new_identity()
    env = instance.environment(spec, marker)
    try:
        process = await trio.lowlevel.open_process(
            command_line(spec, env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=spec.cwd,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        path = env.get("PATH", os.defpath)
        raise start_error(error, spec.command, cwd=spec.cwd, path=path) from error
    return Process(spec, process, marker=marker, stop=stop, on_stderr=on_stderr, limits=limits)
