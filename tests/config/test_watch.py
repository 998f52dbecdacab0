"""Changes to a real file, made as editors and deployments make them."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
import trio

from onemcp.config import (
    Configuration,
    ConfigurationRejected,
    ConfigurationRepaired,
    Reloaded,
    Reloader,
    ReloadResumed,
    ReloadSuspended,
    _reload,
    load,
    watch,
)
from onemcp.config import _watch as module

PATIENCE = 60
"""Seconds that a change may take to be noticed."""


def text_of(name: str) -> str:
    return '{"mcpServers": {"' + name + '": {"command": "x"}}}'


class Harness:
    """A running `Reloader` and what came of it."""

    def __init__(self, path: Path):
        self.events: list[object] = []
        self._applied, self._names = trio.open_memory_channel[str](100)
        self._reported, self._kinds = trio.open_memory_channel[type[object]](100)
        self.reloader = Reloader(path, load(path), self._apply, report=self._report)

    async def _apply(self, configuration: Configuration) -> None:
        await self._applied.send(configuration.backends[0].name)

    def _report(self, event: object) -> None:
        self.events.append(event)
        self._reported.send_nowait(type(event))

    async def becomes(self, name: str) -> None:
        with trio.fail_after(PATIENCE):
            while await self._names.receive() != name:
                pass

    async def happens(self, kind: type[object]) -> None:
        with trio.fail_after(PATIENCE):
            while await self._kinds.receive() is not kind:
                pass


@contextlib.asynccontextmanager
async def running(path: Path):
    harness = Harness(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(harness.reloader.run)
        yield harness
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "onemcp.json"
    path.write_text(text_of("first"))
    return path


async def test_writing_in_place_is_seen(path):
    async with running(path) as harness:
        path.write_text(text_of("second"))
        await harness.becomes("second")
        path.write_text(text_of("third"))
        await harness.becomes("third")
    assert harness.events == []


async def test_renaming_over_is_seen_again_and_again(path):
    async with running(path) as harness:
        for name in ("second", "third"):
            other = path.with_name("onemcp.json~")
            other.write_text(text_of(name))
            other.rename(path)
            await harness.becomes(name)


async def test_moving_away_and_writing_anew_is_seen(path):
    async with running(path) as harness:
        path.rename(path.with_suffix(".bak"))
        path.write_text(text_of("second"))
        await harness.becomes("second")


async def test_deletion_is_reported_once_and_survived(path):
    async with running(path) as harness:
        path.unlink()
        await harness.happens(ConfigurationRejected)
        assert "cannot be read" in harness.reloader.problem.problems[0].message
        path.write_text(text_of("second"))
        await harness.becomes("second")
        await harness.happens(ConfigurationRepaired)
    assert [type(event) for event in harness.events] == [
        ConfigurationRejected,
        ConfigurationRepaired,
    ]


async def test_swinging_the_link_is_seen(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text(text_of(name))
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc/onemcp.json"
    path.symlink_to(tmp_path / "first/a.json")
    async with running(path) as harness:
        other = tmp_path / "etc/new"
        other.symlink_to("../second/a.json")
        other.rename(path)
        await harness.becomes("second")
        (tmp_path / "second/a.json").write_text(text_of("third"))  # what it leads to is watched now
        await harness.becomes("third")


async def test_swinging_the_link_of_a_directory_is_seen(tmp_path):
    # As Kubernetes mounts a ConfigMap: onemcp.json -> ..data/onemcp.json, ..data -> ..2026_1
    for name in ("first", "second"):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}/onemcp.json").write_text(text_of(name))
    (tmp_path / "..data").symlink_to("..first")
    path = tmp_path / "onemcp.json"
    path.symlink_to("..data/onemcp.json")
    async with running(path) as harness:
        (tmp_path / "..data_tmp").symlink_to("..second")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await harness.becomes("second")


async def test_the_directory_may_go_and_come_back(tmp_path):
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "onemcp.json"
    path.write_text(text_of("first"))
    async with running(path) as harness:
        shutil.rmtree(directory)
        await harness.happens(ConfigurationRejected)
        directory.mkdir()
        path.write_text(text_of("second"))
        await harness.becomes("second")


async def test_a_broken_file_changes_nothing_until_it_is_repaired(path):
    async with running(path) as harness:
        path.write_text("{")
        await harness.happens(ConfigurationRejected)
        assert harness.reloader.problem is harness.events[0]
        assert harness.reloader.current.backends[0].name == "first"
        assert await harness.reloader.reload() is Reloaded.REJECTED  # not reported again
        path.write_text("[")
        await harness.happens(ConfigurationRejected)
        path.write_text(text_of("first") + "// as before")
        await harness.happens(ConfigurationRepaired)
        assert harness.reloader.problem is None
        assert await harness.reloader.reload() is Reloaded.UNCHANGED
        path.write_text(text_of("second"))
        await harness.becomes("second")
    assert len(harness.events) == 3


async def test_other_files_are_of_no_interest(path):
    changed = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch, path, changed.set)
        for name in ("a", "b"):
            path.with_name(name).touch()
            await trio.sleep(0.15)
        assert not changed.is_set()
        path.touch()
        with trio.fail_after(PATIENCE):
            await changed.wait()
        nursery.cancel_scope.cancel()


async def test_a_burst_of_changes_is_one(path, monkeypatch):
    monkeypatch.setattr(module, "SETTLE", 0.4)  # a busy machine may take a while between two
    calls: list[None] = []
    called = trio.Event()

    def note() -> None:
        calls.append(None)
        called.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(watch, path, note)
        for number in range(10):
            path.write_text(str(number))
            await trio.sleep(0.01)
        with trio.fail_after(PATIENCE):
            await called.wait()
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert len(calls) == 1


async def test_the_watch_stops_at_once(path, monkeypatch):
    monkeypatch.setattr(module, "TURN", 60.0)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch, path, lambda: None)
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - before < 10  # the thread has ended too, or this took a minute


async def test_without_notifications_the_file_is_looked_at(path, monkeypatch):
    def no_watches_left(*_args, **_options):
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr(module, "RustNotify", no_watches_left)
    monkeypatch.setattr(module, "TURN", 0.05)
    async with running(path) as harness:
        path.write_text(text_of("second"))
        await harness.becomes("second")


async def test_a_file_of_the_working_directory_may_be_named_relative_to_it(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    async with running(Path("onemcp.json")) as harness:
        path.write_text(text_of("second"))
        await harness.becomes("second")


async def test_links_in_a_circle_do_no_harm(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    changed = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch, tmp_path / "a", changed.set)
        (tmp_path / "b").unlink()
        with trio.fail_after(PATIENCE):
            await changed.wait()
        nursery.cancel_scope.cancel()


async def test_what_changed_before_the_watch_is_taken_over_at_the_start(path):
    before = load(path)
    path.write_text(text_of("second"))
    applied: list[str] = []

    async def apply(configuration: Configuration) -> None:
        await trio.lowlevel.checkpoint()
        applied.append(configuration.backends[0].name)

    reloader = Reloader(path, before, apply, report=lambda event: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(reloader.run)
        assert applied == ["second"]
        nursery.cancel_scope.cancel()


async def test_a_failure_to_apply_leaves_the_old_in_force(path):
    before = load(path)

    async def apply(configuration: Configuration) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("not today")

    reloader = Reloader(path, before, apply, report=lambda event: None, environ=os.environ)
    path.write_text(text_of("second"))
    with pytest.raises(RuntimeError, match="not today"):
        await reloader.reload()
    assert reloader.current is before
    assert "in step" in repr(reloader)
    path.write_text("{")
    assert await reloader.reload() is Reloaded.REJECTED
    assert "rejected" in repr(reloader)


async def test_after_repeated_failures_the_file_is_left_alone_until_somebody_asks(
    path, monkeypatch
):
    events: list[object] = []
    applied: list[str] = []
    changes: list[_reload.Reloaded] = []

    async def apply(configuration: Configuration) -> bool:
        await trio.lowlevel.checkpoint()
        applied.append(configuration.backends[0].name)
        return True

    async def see_every_change(_path, notify, *, task_status):
        task_status.started()
        await go.wait()
        for turn in range(_reload.PATIENCE + 1):
            path.write_text("{" * (turn + 1))
            changes.append(await notify())
            changes.append(await notify())  # without a change it is no other failure
        path.write_text(text_of("second"))
        changes.append(await notify())
        done.set()
        await trio.sleep_forever()

    go, done = trio.Event(), trio.Event()
    monkeypatch.setattr(_reload, "watch", see_every_change)
    reloader = Reloader(path, load(path), apply, report=events.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(reloader.run)
        go.set()
        await done.wait()
        rejected = [Reloaded.REJECTED] * (2 * _reload.PATIENCE - 1)
        assert changes == [*rejected, *[Reloaded.SUSPENDED] * 4]
        assert "suspended" in repr(reloader)
        nursery.cancel_scope.cancel()
    assert not applied
    assert [type(event) for event in events] == [
        *[ConfigurationRejected] * _reload.PATIENCE,
        ReloadSuspended,
    ]
    path.write_text("{")
    assert await reloader.reload() is Reloaded.REJECTED
    assert not reloader.suspended
    path.write_text(text_of("second"))
    assert await reloader.reload() is Reloaded.APPLIED
    assert applied == ["second"]
    assert [type(event) for event in events[-3:]] == [
        ReloadResumed,
        ConfigurationRejected,
        ConfigurationRepaired,
    ]
