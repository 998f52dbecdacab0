"""`onemcp stdio --connect`: a bridge from a client that launches programs to a running onemcp."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_stdio import INITIALIZE, META, call, launch, request
from tests.support.processes import Server, serving
from tests.support.running import command, configuration, program, write

__all__ = ["launch"]


@contextmanager
def instance(
    home: Path, environment: dict[str, str], port: int = 0, **more: Any
) -> Iterator[Server]:
    config = home / "instance.json"
    write(config, configuration({"b": program(), "c": program()}, **more))
    line = command(config) if not port else [*command(config), "--port", str(port)]
    with serving(line, environment=environment) as server:
        while server.said().count("backend_ready") < 2:
            assert server.process.poll() is None
        yield server


@pytest.mark.parametrize("path", ["", "/b"])
def test_both_eras_reach_the_instance(launch, home, environment, path):
    prefix = "" if path else "b__"
    with (
        instance(home, environment) as server,
        launch(None, "--connect", server.url + path) as here,
    ):
        assert "tools" in here.ask(request("initialize", INITIALIZE))["capabilities"]
        params = {"name": f"{prefix}echo", "arguments": {"message": "old"}}
        assert here.ask(request("tools/call", params, 2))["content"][0]["text"] == "old"
        answer = here.ask(call(f"{prefix}echo", 3, message="new"))
        assert answer["content"][0]["text"] == "new"
        listed = here.ask(request("tools/list", {"_meta": META}, 4))["tools"]
        assert {tool["name"] for tool in listed} >= {f"{prefix}echo"}
        assert here.hang_up() == 0


@pytest.mark.parametrize("way", ["file", "environment"])
def test_the_token_is_taken_from_a_file_or_the_environment(launch, home, environment, onemcp, way):
    token = onemcp("token").stdout.strip()
    arguments = []
    if way == "file":
        (home / "token").write_text(token + "\n")
        arguments = ["--token-file", str(home / "token")]
    with instance(home, environment, auth={"mode": "local"}) as server:
        if way == "environment":
            environment["ONEMCP_TOKEN"] = token
        with launch(None, "--connect", server.url, *arguments) as here:
            answer = here.ask(call("b__echo", message="in"))
            assert answer["content"][0]["text"] == "in"
            assert here.hang_up() == 0
            assert token not in here.errors.read_text()


def test_without_the_token_a_call_says_why_it_fails(launch, home, environment):
    with (
        instance(home, environment, auth={"mode": "local"}) as server,
        launch(None, "--connect", server.url) as here,
    ):
        answer = here.ask(call("b__echo", message="in"))
        assert answer["code"] == -33001
        assert "401" in answer["message"]
        assert here.hang_up() == 0


def test_an_instance_that_is_restarted_is_found_again(launch, home, environment):
    with instance(home, environment) as server:
        found = re.search(r":(\d+)/", server.url)
        assert found is not None
        port = int(found[1])
        bridge = launch(None, "--connect", server.url)
        here = bridge.__enter__()
        here.ask(call("b__echo", message="x"))
    try:
        assert here.ask(call("b__echo", 2, message="x"))["code"] in {-33001, -33002}
        with instance(home, environment, port):
            here.until(lambda: "content" in here.ask(call("b__echo", 3, message="again")))
            assert here.hang_up() == 0
    finally:
        bridge.__exit__(None, None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--connect", "nonsense"],
        ["--connect", "ftp://127.0.0.1/mcp"],
        ["--connect", "http://127.0.0.1:1/mcp", "--config", "onemcp.json"],
        ["--token-file", "token"],
        ["--connect", "http://127.0.0.1:1/mcp", "--token-file", "absent"],
        ["--connect", "http://127.0.0.1:1/mcp", "--token-file", "odd"],
    ],
)
def test_a_wrong_command_line_is_refused(onemcp, home, arguments):
    (home / "token").write_text("t")
    (home / "odd").write_text("\N{SNOWMAN}")
    result = onemcp("stdio", *arguments)
    assert (result.returncode, result.stdout) == (2, "")


def test_nobody_there_is_said_at_once(launch):
    with launch(None, "--connect", "http://127.0.0.1:1/mcp") as here:
        answer = here.ask(call("echo"))
        assert answer["code"] == -33001
        assert here.hang_up() == 0
