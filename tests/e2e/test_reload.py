"""A change of the configuration touches what has changed, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.clients import Clients, ToolError, clients
from tests.support.eventually import eventually
from tests.support.gates import Gate, gate
from tests.support.load import load
from tests.support.process_tree import alive
from tests.support.running import Gateway, configuration, program, running

QUICK = {
    "timeouts": {"start": 20, "stop": 0.4},
    "restart": {"intensity": 1, "backoff": {"initial": 0.01, "maximum": 0.01}},
}
LIST_CHANGED = "notifications/tools/list_changed"


def labelled(label: str, **settings: Any) -> dict[str, Any]:
    return program(f"label={label}", "tools=echo,label,pid,hold", **{**QUICK, **settings})


class Scene:
    """A gateway, whose backend `still` is under load and is never touched by a test."""

    def __init__(self, gateway: Gateway, session: Clients, held_up: Gate) -> None:
        self.gateway = gateway
        self.session = session
        self.gate = held_up
        self.client = session.modern()

    def rewrite(self, backends: dict[str, Any], **sections: Any) -> None:
        self.gateway.rewrite(configuration(backends, **sections))

    async def applied(self, times: int = 1) -> dict[str, Any]:
        """Wait until a change has been made so many times; return what was done the last time."""
        return (await self.gateway.logged("reload_applied", times=times))["report"]

    async def labels(self, backend: str, label: str) -> None:
        """Wait until calls of a backend reach the one with a label."""

        async def reached() -> bool:
            return await self.client.call(f"{backend}__label") == label

        await eventually(reached, f"{backend} is {label}")

    async def hold(self, client: Any, tool: str, answers: list[str]) -> None:
        answers.append(await client.call(tool, gate=self.gate.port, message="held"))


@asynccontextmanager
async def scene(folder: Path, backends: dict[str, Any]) -> AsyncIterator[Scene]:
    async with (
        running(folder / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
        gate() as held_up,
    ):
        await gateway.ready(*backends)
        here = Scene(gateway, session, held_up)
        pid = await here.client.call("still__pid")
        async with load(session, "still__echo") as under_way:
            yield here
            await under_way.turn()
            assert await here.client.call("still__pid") == pid
        assert len(gateway.lines("backend_ready", backend="still")) == 1
        assert gateway.lines("backend_down", backend="still") == []


STILL = labelled("still")


async def test_added_backend_is_there_and_clients_are_told(tmp_path):
    async with scene(tmp_path, {"still": STILL}) as here:
        legacy = await here.session.legacy()
        async with here.client.notifications() as modern, legacy.notifications() as standalone:
            here.rewrite({"still": STILL, "new": labelled("a")})
            for notifications in (modern, standalone):
                assert (await notifications.receive())["method"] == LIST_CHANGED
            # Whoever is told finds it there.
            for client in (here.client, legacy):
                assert "new__echo" in await client.tools()
                assert await client.call("new__label") == "a"
        assert (await here.applied())["started"] == ["new"]


async def test_removed_backend_is_gone_when_its_calls_have_ended(tmp_path):
    backends = {"still": STILL, "old": labelled("a")}
    async with scene(tmp_path, backends) as here:
        legacy = await here.session.legacy()
        answers: list[str] = []
        async with (
            here.client.notifications() as modern,
            legacy.notifications() as standalone,
            trio.open_nursery() as nursery,
        ):
            for client in (here.client, legacy):
                nursery.start_soon(here.hold, client, "old__hold", answers)
            held = [await here.gate.arrived(), await here.gate.arrived()]
            here.rewrite({"still": STILL})
            for notifications in (modern, standalone):
                assert (await notifications.receive())["method"] == LIST_CHANGED
            assert not [name for name in await legacy.tools() if name.startswith("old__")]
            with pytest.raises(ToolError, match="Unknown tool: old__label"):
                await here.client.call("old__label")
            assert answers == []
            assert alive(held[0].pid)
            for each in held:
                await each.release()
        assert answers == ["held", "held"]
        await here.applied()
        await eventually(lambda: not alive(held[0].pid), "its process is gone")


async def test_changed_backend_is_replaced_and_ends_its_calls(tmp_path):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        legacy = await here.session.legacy()
        answers: list[str] = []
        async with trio.open_nursery() as nursery:
            for client in (here.client, legacy):
                nursery.start_soon(here.hold, client, "it__hold", answers)
            held = [await here.gate.arrived(), await here.gate.arrived()]
            assert [each.label for each in held] == ["a", "a"]
            here.rewrite({"still": STILL, "it": labelled("b")})
            await here.labels("it", "b")
            assert await legacy.call("it__label") == "b"
            assert answers == []
            assert alive(held[0].pid)
            for each in held:
                await each.release()
        assert answers == ["held", "held"]
        await eventually(lambda: not alive(held[0].pid), "the process of the old one is gone")
        assert (await here.applied())["replaced"] == ["it"]


async def test_call_in_flight_holds_up_no_further_change(tmp_path):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        answers: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.hold, here.client, "it__hold", answers)
            first = await here.gate.arrived()
            here.rewrite({"still": STILL, "it": labelled("b")})
            await here.labels("it", "b")
            nursery.start_soon(here.hold, here.client, "it__hold", answers)
            second = await here.gate.arrived()
            here.rewrite({"still": STILL, "it": labelled("c"), "new": labelled("n")})
            await here.labels("it", "c")
            assert await here.client.call("new__label") == "n"
            assert [first.label, second.label, answers] == ["a", "b", []]
            await first.release()
            await second.release()
        assert answers == ["held", "held"]
        for each in (first, second):
            await eventually(lambda pid=each.pid: not alive(pid), "the old ones are gone")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"args": ["-S", "-E", "-c", "import sys; sys.exit(3)"]}, "it exited with status 3"),
        ({"command": "no-such-program"}, "no such program"),
        ({"args": program("mode=mute")["args"]}, "was not ready within 1 s"),
    ],
    ids=["exits", "missing", "mute"],
)
async def test_changed_backend_that_does_not_start_leaves_the_old_one(tmp_path, settings, reason):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        pid = await here.client.call("it__pid")
        hasty = {"start": 1, "stop": 0.4} if reason.endswith("1 s") else QUICK["timeouts"]
        bad = {**labelled("b"), **settings, "timeouts": hasty}
        async with load(here.session, "it__echo"):
            here.rewrite({"still": STILL, "it": bad})
            failed = await here.gateway.logged("child_replacement_failed", backend="it")
            assert failed["level"] == "error"
            assert reason in failed["reason"]
            assert "it" in (await here.applied())["failed"]
        assert await here.client.call("it__pid") == pid
        assert "it__echo" in await here.client.tools()
        # Mended, it takes its place.
        here.rewrite({"still": STILL, "it": labelled("c")})
        await here.labels("it", "c")


async def test_order_changes_without_a_restart(tmp_path):
    backends = {"still": STILL, "x": labelled("x"), "y": labelled("y")}
    async with scene(tmp_path, backends) as here:
        pids = {name: await here.client.call(f"{name}__pid") for name in backends}
        here.rewrite({name: backends[name] for name in ("y", "still", "x")})
        await here.applied()
        tools = await here.client.tools()
        assert [name for name in tools if name.endswith("__pid")] == [
            "y__pid",
            "still__pid",
            "x__pid",
        ]
        assert {name: await here.client.call(f"{name}__pid") for name in backends} == pids


async def test_disabled_backend_comes_back(tmp_path):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        here.rewrite({"still": STILL, "it": labelled("a", enabled=False)})
        await here.applied()
        assert "it__echo" not in await here.client.tools()
        here.rewrite({"still": STILL, "it": labelled("a")})
        await here.gateway.logged("backend_ready", backend="it", times=2)
        assert await here.client.call("it__label") == "a"


async def test_broken_file_changes_nothing_until_it_is_mended(tmp_path):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        here.gateway.rewrite('{\n  "mcpServers": {\n    "it": {"comand": "x"}\n  }\n}')
        line = await here.gateway.logged("configuration_rejected")
        assert line["level"] == "error"
        told = {(each["file"], each["line"], each["remedy"]) for each in line["problems"]}
        assert (str(here.gateway.config), 3, 'Did you mean "command"?') in told
        assert await here.client.call("it__label") == "a"
        here.rewrite({"still": STILL, "it": labelled("b")})
        await here.gateway.logged("configuration_repaired")
        await here.labels("it", "b")
        here.gateway.config.unlink()
        await here.gateway.logged("configuration_rejected", times=2)
        assert await here.client.call("it__label") == "b"
        here.rewrite({"still": STILL, "it": labelled("b")})
        await here.gateway.logged("configuration_repaired", times=2)


async def test_hangup_reloads_at_once_and_only_once(tmp_path):
    async with scene(tmp_path, {"still": STILL, "it": labelled("a")}) as here:
        # Written in place, as some editors do, with a time that looks unchanged.
        before = here.gateway.config.stat()
        document = here.gateway.config.read_text().replace("label=a", "label=b")
        here.gateway.config.write_text(document)
        os.utime(here.gateway.config, ns=(before.st_atime_ns, before.st_mtime_ns))
        here.gateway.signal(signal.SIGHUP)
        await here.labels("it", "b")
        await here.applied()
        here.gateway.signal(signal.SIGHUP)
        here.gateway.signal(signal.SIGHUP)
        here.rewrite({"still": STILL})
        await here.applied(times=2)
        assert len(here.gateway.lines("reload_applied")) == 2
