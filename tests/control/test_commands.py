"""The commands that reach a running onemcp, against one in this process."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import trio
from rich.console import Console

from onemcp import config
from onemcp.backend import BreakerClosed, Call, Caller, Exchange
from onemcp.cli import main
from onemcp.cli.top import screen
from onemcp.control import OperatorActed
from onemcp.protocol.errors import BackendLost
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.runtime import open_socket
from tests.control.conftest import DEMO, Shell


class Nobody:
    """Carries calls nowhere."""

    def abandon(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def reply(self, exchange: Exchange, answer: Response | Failure) -> None:
        raise NotImplementedError


async def test_status_draws_what_it_also_tells_as_json(shell: Shell):
    code, out, _ = await shell.run("status")
    assert code == 0
    assert "demo  up" in out
    assert "off  disabled" in out
    assert "\x1b" not in out
    told = await shell.json("status")
    assert [each["name"] for each in told["backends"]] == ["demo", "broken", "off"]


async def test_servers_are_stopped_started_and_restarted(shell: Shell):
    assert (await shell.json("stop", "demo"))["state"] == "stopped"
    assert "demo  stopped by operator" in (await shell.run("status"))[1]
    assert (await shell.json("start", "demo"))["state"] == "up"
    code, out, _ = await shell.run("restart", "demo")
    assert (code, out[:9]) == (0, "demo  up ")
    code, out, _ = await shell.run("restart", "broken")
    assert (code, out[:8]) == (1, "broken  ")


async def test_an_operator_sees_an_open_breaker_and_resets_it(shell: Shell):
    breaker = shell.world.gateway.multiplexer.backends["demo"].breaker
    while breaker.is_closed:
        exchange = Exchange(1, Call("tools/call", {}, Caller("owner", "ada")), Nobody())
        exchange.since = trio.current_time()
        breaker.began(exchange)
        exchange.fail(BackendLost("it exited"))
        breaker.ended(exchange)
    assert "demo  breaker open  again in " in (await shell.run("status"))[1]
    (told, *_) = (await shell.json("status"))["backends"]
    assert (told["state"], told["breaker"]) == ("breaker-open", "open")
    assert told["failure"] == "it exited"
    metrics = (await shell.world.over_http("/metrics", "admin")).text
    assert 'onemcp_backend_breaker_state{backend="demo",state="open"} 1' in metrics
    health = (await shell.world.over_http("/health", "admin")).json()["backends"]["demo"]
    assert (health["state"], health["breaker"]) == ("breaker_open", "open")
    code, out, _ = await shell.run("reset", "demo")
    assert (code, out[:9]) == (0, "demo  up ")
    assert breaker.is_closed
    assert shell.world.of(BreakerClosed) == [BreakerClosed("demo", by_operator=True)]
    assert shell.world.of(OperatorActed)[-1].action == "reset"


async def test_an_unknown_server_is_a_wrong_command_line(shell: Shell):
    for command in ("restart", "stop", "start", "logs"):
        code, out, err = await shell.run(command, "dmeo")
        assert (code, out) == (2, "")
        assert "Did you mean" not in err
        assert "did you mean 'demo'?" in err


async def test_logs_show_lines_and_what_became_of_a_server(shell: Shell):
    code, out, _ = await shell.run("logs", "demo")
    assert code == 0
    assert "[backend_ready]" in out
    assert (await shell.json("logs", "demo", "--lines", "1"))["event"] == "backend_ready"


async def test_reload_tells_what_is_wrong_and_where(shell: Shell):
    assert (await shell.run("reload"))[:2] == (0, "unchanged\n")
    shell.world.write({"demo": {**DEMO, "prefix": 5}})
    code, _, err = await shell.run("reload")
    assert code == 1
    assert "mcpServers.demo.prefix" in err
    assert "can't be used" in (await shell.run("status"))[1]


async def test_a_suspended_reload_is_shown_wherever_somebody_looks(shell: Shell):
    reloader = shell.world.gateway.reloader
    assert reloader is not None
    shell.world.write({"demo": {**DEMO, "prefix": 5}})
    await shell.run("reload")
    reloader.suspended = True
    status = await shell.json("status")
    assert status["configuration"]["reloadSuspended"]
    assert "left alone until `onemcp reload`" in (await shell.run("status"))[1]
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(screen(status, [], 300))
    assert "left alone until `onemcp reload`" in console.export_text()
    assert (await shell.run("reload"))[0] == 1  # still no good, but it is read again
    assert not (await shell.json("status"))["configuration"]["reloadSuspended"]


async def test_the_one_that_runs_with_the_configuration_here_is_found(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    folder, runtime = shell.world.folder, shell.world.folder / "rt"
    monkeypatch.delenv("ONEMCP_SOCKET")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("onemcp.config._files.SYSTEM_RUNTIME", folder / "none")
    monkeypatch.chdir(folder)
    assert (await shell.run("status"))[0] == 69
    name = config.socket_name(folder / "onemcp.json")
    made = [open_socket(runtime / "onemcp" / f"{each}.sock") for each in ("one", "two")]
    code, _, err = await shell.run("status")
    assert code == 2
    assert "Several run" in err
    (runtime / "onemcp" / name).symlink_to(shell.world.socket)
    assert (await shell.run("status"))[0] == 0
    (folder / "onemcp.json").write_text(
        json.dumps({"mcpServers": {"demo": DEMO}, "control": {"socket": str(shell.world.socket)}})
    )
    (runtime / "onemcp" / name).unlink()
    assert (await shell.run("status"))[0] == 0
    assert (await shell.run("status", "--config", "other.json"))[0] == 69
    for each in made:
        each.close()
    assert (await shell.run("status", "--socket", str(made[0].path)))[0] == 69


def test_the_socket_of_a_configuration_is_found_by_any_of_its_names(tmp_path: Path):
    file = tmp_path / "a b" / "onemcp.json"
    file.parent.mkdir()
    file.touch()
    (tmp_path / "link.json").symlink_to(file)
    assert config.socket_name(file) == config.socket_name(tmp_path / "link.json")
    assert config.socket_name(file).startswith("a-b-")
    assert config.socket_name(None) == "demo.sock"


def test_the_runtime_directory_is_where_systemd_or_the_session_says():
    def where(**environ: str) -> str:
        return os.fspath(config.runtime_directory({"HOME": "/home/ada", **environ}))

    assert where() == "/home/ada/.local/state/onemcp/run"
    assert where(XDG_RUNTIME_DIR="/run/user/1") == "/run/user/1/onemcp"
    assert where(XDG_RUNTIME_DIR="relative") == "/home/ada/.local/state/onemcp/run"
    assert where(XDG_RUNTIME_DIR="/x", RUNTIME_DIRECTORY="/run/a:/run/b") == "/run/a"


def test_a_second_one_with_the_same_configuration_is_refused(
    short_folder: Path, capsys, monkeypatch
):
    monkeypatch.chdir(short_folder)
    place = Path(os.environ["XDG_RUNTIME_DIR"]) / "onemcp" / "demo.sock"
    taken = open_socket(place)
    assert main(["run", "--port", "0"]) == 69
    assert f"process {os.getpid()} listens on {place}" in capsys.readouterr().err
    taken.close()
    (short_folder / "file").touch()
    assert main(["run", "--port", "0", "--socket", str(short_folder / "file")]) == 73
    assert "is no socket" in capsys.readouterr().err
    shutil.rmtree(place.parent)


async def test_where_there_is_nothing_to_approve_it_says_why(shell: Shell):
    code, out, _ = await shell.run("approve", "off")
    assert (code, "no tool or prompt of it has been seen; `onemcp status`" in out) == (0, True)
