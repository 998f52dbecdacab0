"""Legacy clients go on when onemcp is killed or stopped and started again, and elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp.client.streamable_http as sdk_transport
import mcp_types as types
import pytest
from anyio import to_thread
from mcp import ClientSession, MCPError

from tests.support import npm
from tests.support.clients import ACCEPT, LEGACY
from tests.support.processes import Server, ServerError, serving
from tests.support.running import command, configuration, program, write
from tests.support.sdk import on_asyncio

CLIENT = Path(__file__).parent / "programs" / "surviving.cjs"
PATIENCE = 60
"""Seconds that anything may take."""
LOST = -33002
CHANGED = "notifications/tools/list_changed"
GROWN = "grown_3"
BACKENDS = {"it": program("tools=echo,grow,ignore", prefix="", protocol="legacy")}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class Instance:
    """A onemcp that is ended and started again, at one address and with one state directory."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = ""
        self._stack = stack
        self._server: Server | None = None
        self.configure()

    @property
    def state(self) -> Path:
        return self.folder / "state" / "onemcp"

    def configure(self, **sections: Any) -> None:
        write(self.folder / "onemcp.json", configuration(BACKENDS, **sections))

    def start(self) -> None:
        port = httpx.URL(self.url).port if self.url else 0
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}
        line = command(self.folder / "onemcp.json", "--port", str(port))
        self._server = self._stack.enter_context(serving(line, environment=environment))
        self.url = self._server.url
        deadline = time.monotonic() + PATIENCE
        while "backend_ready" not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self._server is not None
        self._server.process.send_signal(how)
        self._server.process.wait(PATIENCE)

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.end(how)
        self.start()

    def said(self) -> str:
        """Return what it has logged and printed since it was started."""
        assert self._server is not None
        return self._server.said()

    def ask(self, session: str, method: str = "POST") -> int:
        """Send a request in a session, or to end it; return the status."""
        headers = {
            "Mcp-Session-Id": session,
            "MCP-Protocol-Version": LEGACY,
            "Accept": ACCEPT,
        }
        body = PING if method == "POST" else None
        answer = httpx.request(method, self.url, json=body, headers=headers, timeout=PATIENCE)
        return answer.status_code

    def open(self) -> str:
        """Open a session; return its id."""
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = httpx.post(self.url, json=message, headers={"Accept": ACCEPT}, timeout=PATIENCE)
        return answer.headers["mcp-session-id"]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Callable[[str], Instance]]:
    with ExitStack() as stack:
        yield lambda name: Instance(tmp_path / name, stack)


@pytest.fixture
def onemcp(instance: Callable[[str], Instance]) -> Instance:
    made = instance("one")
    made.configure(server={"pollAfter": 0.2})
    made.start()
    return made


ENDS = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])


# --- the Python SDK ----------------------------------------------------------------------------


class PythonClient:
    """The official client, its session, and what it hears of changed tools."""

    def __init__(self) -> None:
        self.changes = 0
        self.polls = 0
        self.ids: set[str] = set()
        self.session: ClientSession

    async def heard(self, message: Any) -> None:
        self.changes += isinstance(message, types.ToolListChangedNotification)

    async def requested(self, request: Any) -> None:
        self.ids.update({request.headers.get("mcp-session-id", "")} - {""})
        self.polls += "last-event-id" in request.headers

    async def call(self, tool: str, **arguments: Any) -> str:
        result = await self.session.call_tool(tool, arguments)
        return str(result.content[0].text)

    async def changed(self) -> None:
        """Wait until it has heard of changed tools."""
        await until(lambda: self.changes > 0)
        self.changes = 0


@asynccontextmanager
async def python_client(url: str) -> AsyncIterator[PythonClient]:
    client = PythonClient()
    async with sdk_transport.create_mcp_http_client() as http:
        http.event_hooks = {"request": [client.requested]}
        async with (
            sdk_transport.streamable_http_client(
                url, http_client=http, terminate_on_close=False
            ) as streams,
            ClientSession(*streams, message_handler=client.heard) as client.session,
        ):
            await client.session.initialize()
            yield client


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the client announces it to nobody
            await anyio.sleep(0.02)


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client come back to its streams for as long as a slow machine needs."""
    monkeypatch.setattr(sdk_transport, "MAX_RECONNECTION_ATTEMPTS", 1000)


@pytest.mark.interop
@pytest.mark.usefixtures("_patient")
@ENDS
@on_asyncio
async def test_the_python_client_goes_on(onemcp: Instance, how: signal.Signals):
    async with python_client(onemcp.url) as client:
        assert await client.call("echo", message="one") == "one"
        assert await client.call("grow") == GROWN
        await client.changed()
        await to_thread.run_sync(onemcp.restart, how)
        assert await client.call("echo", message="two") == "two"
        await client.changed()  # what it may have missed
        assert await client.call("grow") == GROWN  # the backend has begun anew, too
        await client.changed()
        (session,) = client.ids
        assert onemcp.ask(session, "DELETE") == 204
        await to_thread.run_sync(onemcp.restart, how)
        assert onemcp.ask(session) == 404


@pytest.mark.interop
@pytest.mark.usefixtures("_patient")
@on_asyncio
async def test_the_python_client_is_told_that_an_answer_is_lost(onemcp: Instance):
    async with python_client(onemcp.url) as client:
        errors: list[MCPError] = []

        async def ignored() -> None:
            with pytest.raises(MCPError) as lost:
                await client.call("ignore")
            errors.append(lost.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ignored)
            await until(lambda: client.polls > 0)
            await to_thread.run_sync(onemcp.restart)
        assert errors[0].error.code == LOST
        assert "may or may not have acted" in errors[0].error.message
        assert await client.call("echo", message="on") == "on"


# --- the TypeScript SDK ------------------------------------------------------------------------


class TypeScriptClient:
    """The official client in a process of its own."""

    def __init__(self, url: str) -> None:
        node = npm.installed()
        self._process = subprocess.Popen(
            [str(node.node), str(CLIENT), url],
            env=node.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._jobs = 0
        self.session = self.hear("session")["session"]

    def hear(self, member: str, value: Any = None) -> dict[str, Any]:
        """Return the next thing that it says with a member."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if member in said and value in {None, said[member]}:
                return dict(said)
        raise AssertionError("it has ended")

    def begin(self, what: str, **job: Any) -> int:
        self._jobs += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._jobs, "do": what, **job}) + "\n")
        self._process.stdin.flush()
        return self._jobs

    def call(self, tool: str, **arguments: Any) -> str:
        job = self.begin("call", name=tool, arguments=arguments)
        return str(self.hear("id", job)["said"])

    def end(self) -> None:
        self.hear("id", self.begin("end"))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.interop
@ENDS
def test_the_typescript_client_goes_on(onemcp: Instance, how: signal.Signals):
    with closing(TypeScriptClient(onemcp.url)) as client:
        assert client.call("echo", message="one") == "one"
        client.begin("call", name="grow", arguments={})
        client.hear("notification", CHANGED)
        onemcp.restart(how)
        assert client.call("echo", message="two") == "two"
        client.begin("call", name="grow", arguments={})
        client.hear("notification", CHANGED)
        client.end()
        onemcp.restart(how)
        assert onemcp.ask(client.session) == 404


@pytest.mark.interop
def test_the_typescript_client_is_told_that_an_answer_is_lost(onemcp: Instance):
    with closing(TypeScriptClient(onemcp.url)) as client:
        job = client.begin("call", name="ignore", arguments={})
        client.hear("poll")
        onemcp.restart()
        lost = client.hear("id", job)
        assert lost["code"] == LOST
        assert "may or may not have acted" in lost["message"]
        assert client.call("echo", message="on") == "on"


# --- instances ---------------------------------------------------------------------------------


def test_instances_with_a_shared_key_serve_each_others_sessions(
    instance: Callable[[str], Instance],
):
    one, two, stranger = instance("one"), instance("two"), instance("stranger")
    one.start()
    two.configure(server={"sealingKeyFile": str(one.state / "sealing.json")})
    two.start()
    stranger.start()
    of_one, of_two = one.open(), two.open()
    for session in (of_one, of_two):
        assert (one.ask(session), two.ask(session)) == (200, 200)
        assert stranger.ask(session) == 404
    assert not (two.state / "sealing.json").exists()
    assert one.ask(of_two, "DELETE") == 204
    one.restart()
    assert (one.ask(of_two), one.ask(of_one)) == (404, 200)


def test_a_shared_key_that_is_missing_ends_the_start(instance: Callable[[str], Instance]):
    one = instance("one")
    one.configure(server={"sealingKeyFile": str(one.folder / "none.json")})
    with pytest.raises(ServerError, match=r"exited with 73[\s\S]*server\.sealingKeyFile"):
        one.start()


def test_without_a_state_directory_it_runs_and_says_so(instance: Callable[[str], Instance]):
    one = instance("one")
    (one.folder / "state").touch()
    one.start()
    session = one.open()
    assert one.ask(session) == 200
    assert "Nothing outlives this process" in one.said()
    one.restart()
    assert one.ask(session) == 404
    assert one.ask(one.open()) == 200


def test_a_damaged_ledger_ends_the_sessions_of_before(instance: Callable[[str], Instance]):
    one = instance("one")
    one.start()
    session = one.open()
    one.end(signal.SIGTERM)
    (one.state / "sessions.db").write_bytes(b"damaged " * 1000)
    one.start()
    assert one.ask(session) == 404
    assert "sessions.db was damaged" in one.said()
    again = one.open()
    one.restart()
    assert one.ask(again) == 200
