"""What is shown while somebody watches, and completed while somebody types."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import trio
from click.shell_completion import ShellComplete

from onemcp.cli import instance
from onemcp.cli.program import program
from tests.control.conftest import Shell
from tests.support.eventually import eventually


def states_until_stopped(socket: Path) -> list[str]:
    """Follow the status; stop the demo once it has come, and return the states that were told."""
    seen: list[str] = []
    with (
        instance.reached(socket, None) as running,
        contextlib.closing(running.follow("/status", follow=1)) as told,
    ):
        for status in told:
            seen.append(status["backends"][0]["state"])
            if len(seen) == 1:
                running.tell("/backends/demo/stop")
            elif seen[-1] == "stopped":
                break
    return seen


async def test_who_watches_the_status_sees_each_change_when_it_happens(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("onemcp.control.endpoint.STATUS_AGE", 3600.0)
    seen = await trio.to_thread.run_sync(states_until_stopped, shell.world.socket)
    assert (seen[0], seen[-1]) == ("up", "stopped")


async def test_watching_goes_on_until_the_watched_one_ends(shell: Shell):
    gateway = shell.world.gateway
    done: list[tuple[int, str, str]] = []

    async def watch() -> None:
        done.append(await shell.run("status", "--watch", "--json"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await eventually(lambda: bool(gateway.control.journal._listeners), "somebody watches")
        await gateway.stop()
    [(code, out, err)] = done
    assert (code, "has ended" in err) == (69, True)
    assert all(json.loads(line)["backends"] for line in out.splitlines())


def completed(*words: str) -> list[str]:
    complete = ShellComplete(program, {}, "onemcp", "_ONEMCP_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


async def test_the_shell_completes_what_a_running_one_has(shell: Shell):
    async def complete(*words: str) -> list[str]:
        return await trio.to_thread.run_sync(completed, *words)

    for command in ("restart", "stop", "start", "logs"):
        assert await complete(command, "") == ["demo", "broken", "off"]
    file = str(shell.world.folder / "onemcp.json")
    for command in ("login", "doctor"):  # which need none that runs
        assert await complete(command, "--config", file, "") == ["demo", "broken", "off"]
        assert await complete(command, "--config", "/nowhere", "") == []
    assert await complete("restart", "b") == ["broken"]
    assert await complete("call", "demo__ad") == ["demo__add"]
    assert await complete("call", "--view", "demo", "ad") == ["add"]
    assert await complete("read", "") != []
    assert await complete("prompt", "demo") != []
    assert await complete("restart", "--socket", "/nowhere", "") == []
