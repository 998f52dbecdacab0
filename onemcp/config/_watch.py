"""See every change to the configuration file, however it is made.

Theory of operation. Editors seldom write into the file they show: they write another one and
rename it over, or move the old one away first. Deployments go further and swing a symbolic link,
perhaps that of a directory further up. A watch on the file itself would be left holding the old
inode. So the way to the file is followed link by link, and every directory is watched in which
some step of it could be replaced. When a step moved, the way is followed anew.

A look at the file itself (its inode, size and times) helps out, once a `TURN` and whenever the way
is followed anew: it sees changes that fall between the following and the watching, and those on
file systems that send no notifications.

watchfiles waits in a thread, which Trio cannot interrupt; it looks at an event instead. A task of
its own sets that event once it is cancelled, which makes stopping a matter of `SETTLE`. Its
`awatch` does just that, but over anyio, which imports 30 modules to find Trio.
"""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import attrs
import trio
from watchfiles._rust_notify import RustNotify

SETTLE = 0.1  # seconds without a change after which a burst of them is over
LONGEST_BURST = 1.0  # seconds after which it is reported even so
TURN = 1.0  # seconds between two looks at the file when nothing is notified
MOST_LINKS = 40


@attrs.frozen
class _Sight:
    """What a look at the file showed.

    Attributes:
        directories: Those in which a step of the way to the file lies.
        names: The names of these steps.
        identity: What tells one state of the file from another; None when there is none.
    """

    directories: frozenset[Path]
    names: frozenset[str]
    identity: tuple[int, ...] | None

    def concerns(self, changed: str) -> bool:
        """Whether a change to the path `changed` can matter."""
        return os.path.basename(changed) in self.names  # noqa: PTH119  (many, and all strings)


async def watch(
    path: Path,
    notify: Callable[[], Awaitable[object] | None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Call `notify` whenever the file at `path` may have changed, until cancelled.

    It may be called without need, and is called once for a burst of changes. The file may be
    missing, now or later. The next change is looked for when `notify` is done; none is lost.

    Args:
        path: The file.
        notify: A function, or an async one.
        task_status: Acknowledged once changes are seen.
    """
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_cancelled, stop)
        sight = await _look(path)
        task_status.started()  # no checkpoint from here to the start of the watch
        while True:
            try:
                sight = await _watch_along(path, sight, notify, stop)
            except OSError:  # a directory vanished meanwhile, or the system has no watches left
                await trio.sleep(TURN)
            sight = await _tell(path, sight, notify, notified=False)
    raise AssertionError("unreachable")  # pragma: no cover  (for mypy)


async def _set_when_cancelled(stop: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()


async def _watch_along(
    path: Path,
    sight: _Sight,
    notify: Callable[[], Awaitable[object] | None],
    stop: trio.Event,
) -> _Sight:
    """Watch until another way leads to the file, or `stop` is set; return the last sight of it."""
    directories = [str(directory) for directory in sight.directories]
    with RustNotify(
        directories,
        debug=False,
        force_polling=False,
        poll_delay_ms=0,
        recursive=False,
        ignore_permission_denied=False,
    ) as watcher:
        wait = partial(
            watcher.watch,
            round(LONGEST_BURST * 1000),
            round(SETTLE * 1000),
            round(TURN * 1000),
            stop,
        )
        before = sight.directories
        while sight.directories == before:
            changes = await trio.to_thread.run_sync(wait)
            if changes == "stop":
                break
            named = () if isinstance(changes, str) else changes
            notified = any(sight.concerns(name) for _, name in named)
            sight = await _tell(path, sight, notify, notified=notified)
    return sight


async def _tell(
    path: Path,
    before: _Sight,
    notify: Callable[[], Awaitable[object] | None],
    *,
    notified: bool,
) -> _Sight:
    """Call `notify` if there is reason to, and return a fresh sight of the file."""
    sight = await _look(path)
    if notified or sight != before:
        waiting = notify()
        if waiting is not None:
            await waiting
    return sight


async def _look(path: Path) -> _Sight:
    return await trio.to_thread.run_sync(_look_now, path)


def _look_now(path: Path) -> _Sight:
    directories, names = _follow(path)
    try:
        status = path.stat()
    except OSError:
        identity = None
    else:
        identity = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
    names |= {directory.name for directory in directories}
    return _Sight(frozenset(directories), frozenset(names), identity)


def _follow(path: Path) -> tuple[set[Path], set[str]]:
    """Follow `path` through all links to the file, or to the first step that is missing."""
    directories: set[Path] = set()
    names: set[str] = set()
    absolute = path.absolute()
    here = Path(absolute.anchor)
    steps = list(reversed(absolute.parts[1:]))
    links = 0
    while steps and links < MOST_LINKS:
        step = steps.pop()
        if step == "..":
            here = here.parent
            continue
        target = _target(here / step)
        if target is not None:
            links += 1
            here_next = Path(target.anchor) if target.is_absolute() else here
            steps.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        else:
            here_next = here / step
        missing = target is None and not os.path.lexists(here / step)
        if target is not None or missing or not steps:
            directories.add(here)
            names.add(step)
        if missing:
            break
        here = here_next
    return directories, names


def _target(path: Path) -> Path | None:
    """Return where the link at `path` leads; None when it is no link."""
    try:
        return path.readlink()
    except OSError:
        return None
