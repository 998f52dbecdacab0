"""`onemcp stdio`, as a real process that a client has launched."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.process_tree import descendants, marked
from tests.support.running import MARKER, configuration, program, write

PATIENCE = 60
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}}


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}


def call(tool: str, request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": META}
    return request("tools/call", params, request_id)


class Launched:
    """A running `onemcp stdio`, and the client's ends of its streams."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, marker: str) -> None:
        self.process = process
        self.errors = errors
        self.marker = marker

    def say(self, *messages: Any) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Read the next message; None at the end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, message: Any) -> Any:
        self.say(message)
        while "method" in (answer := self.hear()):
            pass
        assert answer["id"] == message["id"]
        return answer.get("result") or answer["error"]

    def hang_up(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.02)


@pytest.fixture
def launch(home: Path, environment: dict[str, str]) -> Callable[..., Any]:
    """Launch onemcp; a test that takes too long finds its streams closed."""

    @contextmanager
    def launched(document: Any = None, *arguments: str) -> Iterator[Launched]:
        if document is not None:
            write(home / "onemcp.json", document)
        marker, errors = uuid.uuid4().hex, home / "stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "onemcp", "stdio", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=home,
                env={**environment, MARKER: marker},
            )
        here = Launched(process, errors, marker)
        try:
            yield here
            here.until(lambda: process.poll() is None or not marked(marker))
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    stream.close()

    return launched


def echo(**sections: Any) -> dict[str, Any]:
    return configuration({"b": program()}, **sections)


@pytest.mark.requirement("basic/index#auth-2", "basic/transports/stdio#introduction-3")
def test_the_demo_is_served_and_only_messages_get_to_stdout(launch):
    with launch() as here:
        assert here.ask(request("initialize", INITIALIZE))["serverInfo"]["name"] == "onemcp"
        tools = here.ask(request("tools/list", request_id=2))["tools"]
        assert "demo__echo" in {tool["name"] for tool in tools}
        assert here.hang_up() == 0
        while (message := here.hear()) is not None:
            # What the demo offers may have become known just now.
            assert message["method"].endswith("/list_changed")
        assert "backend_ready" in here.errors.read_text()


def test_both_eras_are_served(launch):
    with launch(echo()) as here:
        here.ask(request("initialize", INITIALIZE))
        assert here.ask(call("b__echo", 2, message="new"))["content"][0]["text"] == "new"
        params = {"name": "b__echo", "arguments": {"message": "old"}}
        assert here.ask(request("tools/call", params, 3))["content"][0]["text"] == "old"
        assert here.hang_up() == 0


def test_what_was_asked_before_the_input_ended_is_answered(onemcp, home):
    write(home / "onemcp.json", echo())
    lines = [json.dumps(call("b__echo", number, message="x")) for number in range(20)]
    result = onemcp("stdio", input="\n".join(["garbage", *lines]), stdin=None)
    assert result.returncode == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert {answer.get("id") for answer in answers} == {*range(20), None}
    assert sum("error" in answer for answer in answers) == 1


@pytest.mark.requirement("basic/transports/stdio#shutdown-2")
def test_what_is_never_answered_holds_up_the_end_no_longer_than_allowed(launch):
    with launch(echo(server={"shutdownGrace": 0.3})) as here:
        here.ask(call("b__echo", message="x"))
        here.say(call("b__ignore", 2))
        family = descendants(here.process.pid)
        assert family
        assert here.hang_up() == 0
        assert here.hear()["error"]["code"] == -33008
        assert here.hear() is None
        here.until(lambda: not marked(here.marker))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(launch, number):
    with launch(echo(server={"shutdownGrace": 0.3})) as here:
        here.ask(call("b__echo", message="x"))
        here.process.send_signal(number)
        assert here.process.wait(PATIENCE) == 0
        assert not marked(here.marker)


def test_a_client_that_stops_reading_is_not_waited_for(launch):
    with launch(echo(server={"shutdownGrace": 60})) as here:
        here.ask(call("b__echo", message="x"))
        here.process.stdout.close()
        here.say(call("b__ignore", 2), call("b__echo", 3, message="y"))
        assert here.process.wait(PATIENCE) == 0


def test_when_it_is_killed_nothing_is_left_behind(launch):
    with launch(echo()) as here:
        here.ask(call("b__echo", message="x"))
        assert marked(here.marker) - {here.process.pid}
        here.process.kill()
        here.process.wait()
        here.until(lambda: not marked(here.marker))


def test_a_changed_configuration_takes_effect(launch, home):
    with launch(echo()) as here:
        here.ask(request("initialize", INITIALIZE))
        here.ask(request("tools/list", request_id=2))
        changed = configuration({"b": program(), "c": program()})
        changed["server"] = {"host": "127.0.0.9", "port": 1, "shutdownGrace": 0.5}
        write(home / "onemcp.json", changed)
        listed: set[str] = set()
        for request_id in itertools.count(3):
            while here.hear().get("method") != "notifications/tools/list_changed":
                pass
            tools = here.ask(request("tools/list", request_id=request_id))["tools"]
            listed = {tool["name"] for tool in tools}
            if "c__echo" in listed:  # what was replaced may have been announced before
                break
        assert here.hang_up() == 0


def test_a_backend_that_does_not_start_holds_up_nobody(launch):
    document = configuration({"bad": {"command": "/no/such/program"}, "b": program()})
    with launch(document) as here:
        listed = here.ask(request("tools/list", {"_meta": META}))["tools"]
        assert "b__echo" in {tool["name"] for tool in listed}
        assert here.hang_up() == 0


def test_a_bad_configuration_is_told_on_stderr_alone(onemcp, home):
    (home / "onemcp.json").write_text("{")
    result = onemcp("stdio")
    assert (result.returncode, result.stdout) == (78, "")
    assert "onemcp.json" in result.stderr


@pytest.mark.parametrize(("view", "name"), [("parrot", "b__echo"), ("b", "echo")])
def test_one_view_is_served(launch, view, name):
    views = {"parrot": {"tools": {"allow": ["echo"]}}}
    with launch(echo(views=views), "--view", view) as here:
        listed = here.ask(request("tools/list", {"_meta": META}))["tools"]
        assert name in {tool["name"] for tool in listed}
        assert (len(listed) == 1) == (view == "parrot")
        assert here.ask(call("c__echo", 2))["code"] == -32602
        assert here.hang_up() == 0


def test_a_view_that_comes_back_is_served_again(launch, home):
    shown, hidden = echo(views={"v": {"tools": {"allow": ["echo"]}}}), echo()
    with launch(shown, "--view", "v") as here:
        assert len(here.ask(request("tools/list", {"_meta": META}))["tools"]) == 1
        for document, wanted in ((hidden, "code"), (shown, "tools")):
            write(home / "onemcp.json", document)
            for request_id in itertools.count(2):
                if wanted in here.ask(request("tools/list", {"_meta": META}, request_id)):
                    break
        assert here.hang_up() == 0


def test_an_unknown_view_is_refused(onemcp, home):
    write(home / "onemcp.json", echo(views={"v": {}}))
    result = onemcp("stdio", "--view", "w")
    assert (result.returncode, result.stdout) == (78, "")
    assert "there is no view or server 'w'; there is v, b" in result.stderr
    result = onemcp("stdio", "--connect", "http://127.0.0.1:9/mcp", "--view", "v")
    assert result.returncode == 2
    assert "--connect takes no --view" in result.stderr


@pytest.mark.parametrize(("closed", "name"), [("<&-", "stdin"), (">&-", "stdout")])
def test_without_its_streams_it_says_so(home, closed, name):
    script = f"exec {sys.executable} -m onemcp stdio {closed}"
    result = subprocess.run(
        ["/bin/sh", "-c", script], cwd=home, capture_output=True, text=True, check=False, timeout=30
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert f"There is no {name}" in result.stderr


def test_a_file_will_do_for_both_streams(home, environment):
    asked, answered = home / "in", home / "out"
    asked.write_text(json.dumps(request("ping")) + "\n")
    with asked.open("rb") as source, answered.open("wb") as sink:
        subprocess.run(
            [sys.executable, "-m", "onemcp", "stdio"],
            stdin=source,
            stdout=sink,
            stderr=subprocess.DEVNULL,
            cwd=home,
            env=environment,
            check=True,
            timeout=PATIENCE,
        )
    assert json.loads(answered.read_text())["result"] == {}


def test_it_can_stand_behind_itself(launch, home):
    inner = home / "inner.json"
    write(inner, echo())
    args = ["-m", "onemcp", "stdio", "--config", str(inner)]
    outer = configuration({"inner": {"command": sys.executable, "args": args, "inherit": [MARKER]}})
    with launch(outer) as here:
        here.ask(request("initialize", INITIALIZE))
        answer = here.ask(call("inner__b__echo", 2, message="deep"))
        assert answer["content"][0]["text"] == "deep"
        assert here.ask(call("inner__b__die", 3))["code"] in {-33001, -33002}
        assert here.hang_up() == 0
        here.until(lambda: not marked(here.marker))


def test_a_killed_outer_one_takes_the_inner_one_along(launch, home):
    inner = home / "inner.json"
    write(inner, echo())
    args = ["-m", "onemcp", "stdio", "--config", str(inner)]
    outer = configuration({"inner": {"command": sys.executable, "args": args, "inherit": [MARKER]}})
    with launch(outer) as here:
        here.ask(call("inner__b__echo", message="x"))
        here.process.kill()
        here.process.wait()
        here.until(lambda: not marked(here.marker))
