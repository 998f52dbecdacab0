"""The executable, where there is no Python and nothing else either."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from tests.executable.built import Program, ask
from tests.support import npm
from tests.support.process_tree import descendants, wait_gone
from tests.support.running import configuration, write
from tests.support.sdk import on_asyncio

TESTS = Path(__file__).parents[1]
EVERYTHING = TESTS / "reference" / "everything.py"
TYPESCRIPT = TESTS / "frontend" / "programs" / "sdk_client.cjs"
MOST_BYTES = 40_000_000
FIRST_SECONDS = 1.5


@pytest.fixture(scope="session")
def executable() -> Path:
    return Path(os.environ["ONEMCP_BUILT_EXECUTABLE"])


@pytest.fixture(scope="session")
def program(executable: Path, program_of: Callable[[Sequence[str]], Program]) -> Program:
    return program_of([str(executable)])


def test_it_is_one_file_of_a_bounded_size_and_needs_nothing(executable: Path, program: Program):
    assert executable.stat().st_size < MOST_BYTES
    said = program.run("--version")
    assert said.stdout.startswith("onemcp "), said.stderr
    for path in ("", "/nowhere"):
        assert program.run("--version", PATH=path).stdout == said.stdout


def test_it_starts_quickly_even_when_it_has_to_be_unpacked(program: Program, tmp_path: Path):
    took = []
    for _ in range(2):
        process = program.start("--version", HOME=str(tmp_path))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.communicate()
        assert process.returncode == 0
        took.append(usage.ru_utime + usage.ru_stime)  # not by the clock, which others slow down
    assert max(took) < FIRST_SECONDS
    assert took[1] < took[0], "it is unpacked once"


def test_it_has_the_schema_and_checks_by_it(program: Program):
    assert json.loads(program.run("schema").stdout)["title"] == "onemcp configuration"
    file = program.home / "wrong.json"
    file.write_text('{"mcpServers": {"a": {"command": "x", "urll": 1}}}')
    checked = program.run("check", str(file))
    assert checked.returncode == 1
    assert "urll" in checked.stdout + checked.stderr


def test_it_is_completed_by_shells(program: Program):
    assert "onemcp" in program.run(_ONEMCP_COMPLETE="bash_source").stdout


@pytest.mark.interop
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@on_asyncio
async def test_the_python_client_is_served_the_demo(demo: tuple[str, str], mode: str):
    asked = await ask(*demo, mode)
    assert (asked.revision == "2026-07-28") == (mode == "2026-07-28")
    assert "Grüße" in asked.text


@pytest.mark.interop
def test_the_typescript_client_launches_it(program: Program, executable: Path):
    node = npm.installed()
    config = program.home / "everything.json"
    everything = {"command": sys.executable, "args": [str(EVERYTHING), "--stdio"]}
    write(config, configuration({"all": everything}))
    launch = [str(executable), "stdio", "--config", str(config)]
    result = subprocess.run(
        [str(node.node), str(TYPESCRIPT), "stdio", *launch],
        env=node.environment() | {"HOME": str(program.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["server"] == "onemcp"


def test_it_shows_pages(demo: tuple[str, str]):
    url, _ = demo
    page = url.removesuffix("/mcp") + "/oauth/callback?state=x"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(page)  # noqa: S310  (our own address)
    assert "<html" in refused.value.read().decode()


def test_backends_get_nothing_of_how_it_is_packed(program: Program):
    seen = program.home / "seen"
    script = f"/usr/bin/env > {seen}; exec /bin/cat > /dev/null"
    write(
        program.home / "env.json",
        configuration({"a": {"command": "/bin/sh", "args": ["-c", script]}}),
    )
    program.run("doctor", "a", "--config", str(program.home / "env.json"), LD_LIBRARY_PATH="/mine")
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "HOME" in names
    assert not {name for name in names if name.startswith(("LD_", "_PYI", "_MEI", "ONEMCP_EXEC"))}


def hear(manager: socket.socket) -> tuple[int, str]:
    """Return who has sent the next message to the service manager, and what."""
    size = struct.calcsize("3i")
    message, [(_, _, sender)], *_ = manager.recvmsg(4096, socket.CMSG_SPACE(size))
    return struct.unpack("3i", sender)[0], message.decode()


def test_it_is_the_process_that_was_started_and_leaves_nothing_when_it_is_killed(
    program: Program, tmp_path: Path
):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.settimeout(60)
        process = program.start("run", "--port", "0", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert process.stderr is not None
        with process:
            try:
                sender, said = hear(manager)
                while "READY=1" not in said:
                    sender, said = hear(manager)
                assert any("backend_ready" in line for line in process.stderr)
                children = descendants(process.pid)
            finally:
                process.send_signal(signal.SIGKILL)
                process.communicate()
    assert sender == process.pid
    assert len(children) >= 2, "the guardian and the demo"

    async def all_gone() -> None:
        with trio.fail_after(60):
            for child in children:
                await wait_gone(child)

    trio.run(all_gone)


def test_it_is_what_services_and_clients_start(program: Program, executable: Path):
    unit = program.run("install-service", "--user", "--print").stdout
    assert f"ExecStart={executable} run" in unit
    program.run("install", "cursor", "--file", str(program.home / "mcp.json"))
    written = json.loads((program.home / "mcp.json").read_text())
    assert written["mcpServers"]["onemcp"]["command"] == str(executable)


def test_it_is_unpacked_where_that_is_possible(program: Program, tmp_path: Path):
    somewhere = tmp_path / "cache"
    said = program.run("--version", HOME="/dev/null", XDG_CACHE_HOME="/proc", TMPDIR="/proc")
    assert said.returncode == 73
    assert "XDG_CACHE_HOME" in said.stderr
    somewhere.mkdir()
    said = program.run("--version", HOME="/dev/null", XDG_CACHE_HOME="/proc", TMPDIR=str(somewhere))
    assert said.stdout.startswith("onemcp "), said.stderr
    [unpacked] = somewhere.glob("*/*/onemcp")
    assert unpacked.parent.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(somewhere)
