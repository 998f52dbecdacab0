"""What commands don't import: what they don't need costs them neither time nor memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

MODULES: Final = "MODULES"
"""Names the file that the names of all imported modules are written to at the end."""

PROGRAM: Final = f"""
import atexit, os, sys

def write():
    with open(os.environ[{MODULES!r}], "w") as file:
        file.write("\\n".join(name for name, module in sys.modules.items() if module))

atexit.register(write)
from onemcp.cli import main
sys.exit(main())
"""

PAGES: Final = {"quart", "quart_trio", "jinja2", "markupsafe", "werkzeug", "flask"}
HTTP_2: Final = {"h2", "hpack", "wsproto", "h11", "hypercorn.trio"}
HTTP_CLIENT: Final = {"httpx", "httpcore", "certifi"}
LOGINS: Final = {"onemcp.backend.oauth", "onemcp.backend.http", "onemcp.outbound.fetching"}
DRAWING: Final = {"rich", "pygments", "markdown_it"}
TOKENS: Final = {"cryptography"}
KEYS_OF_OTHERS: Final = {"jwt", "cryptography.x509"}
TELEMETRY: Final = {"opentelemetry", "google.protobuf", "grpc"}
GATEWAY: Final = {"trio", "hypercorn", "structlog", "onemcp.multiplexer", "onemcp.frontend"}

NO_GATEWAY: Final = GATEWAY - {"trio"} | PAGES | HTTP_2 | TELEMETRY | LOGINS | KEYS_OF_OTHERS
NOTHING: Final = NO_GATEWAY | GATEWAY | HTTP_CLIENT | DRAWING | TOKENS | {"attr", "jsonschema"}

COMMANDS: Final[Mapping[str, set[str]]] = {
    "--version": NOTHING | {"onemcp.config"},
    "--help": NOTHING | {"onemcp.config"},
    "schema": NOTHING - {"onemcp.config"},
    "check": NO_GATEWAY | HTTP_CLIENT | DRAWING | {"jsonschema"},
    "user --help": NO_GATEWAY | HTTP_CLIENT | DRAWING | {"jsonschema"},
    "token": NO_GATEWAY | HTTP_CLIENT | DRAWING | {"jsonschema"},
    "install cursor": NO_GATEWAY | HTTP_CLIENT | DRAWING | TOKENS | {"jsonschema"},
    "status": NO_GATEWAY | TOKENS | {"jsonschema"},
    "tools": NO_GATEWAY - {"structlog"} | TOKENS | {"jsonschema"},
    "reload": NO_GATEWAY - {"structlog"} | TOKENS | {"jsonschema"},
}
"""What is not imported by which command line."""

RUN: Final = (
    PAGES
    | HTTP_2
    | HTTP_CLIENT
    | LOGINS
    | DRAWING
    | TELEMETRY
    | KEYS_OF_OTHERS
    | {"anyio._backends._trio", "importlib.metadata", "email"}
)
"""What is not imported to serve programs to clients with tokens."""


def environment_in(folder: Path) -> dict[str, str]:
    places = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    return {
        "PATH": os.environ["PATH"],
        **dict.fromkeys(places, str(folder)),
        MODULES: str(folder / "modules"),
    }


@pytest.fixture
def environment(short_folder: Path) -> dict[str, str]:
    return environment_in(short_folder)


def imported(short_folder: Path, unwanted: set[str]) -> set[str]:
    """Return what was imported of what is not wanted."""
    return unwanted & {*(short_folder / "modules").read_text().split()}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_imports_what_it_needs(
    line: str, short_folder: Path, environment: dict[str, str]
):
    if line == "check":
        (short_folder / "onemcp.json").write_text('{"mcpServers": {"a": {"command": "true"}}}')
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *line.split()],
        capture_output=True,
        check=False,  # nobody is there to tell a status
        cwd=short_folder,
        env=environment,
    )
    assert not imported(short_folder, COMMANDS[line])


@contextlib.contextmanager
def running(short_folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Serve the demo; yields what is printed, once the demo is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "--port", "0"],
        cwd=short_folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            assert any("backend_ready" in line for line in process.stderr)
            yield "".join(next(process.stdout) for _ in range(3))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def ask(url: str, token: str, method: str) -> Any:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}}
    request = urllib.request.Request(  # noqa: S310  (our own address)
        url,
        json.dumps(message).encode(),
        {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
        },
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310  (likewise)
        return json.loads(response.read())


def test_to_serve_a_program_takes_neither_pages_nor_an_http_client(
    short_folder: Path, environment: dict[str, str]
):
    with running(short_folder, environment) as said:
        url, token = re.search(r"http://\S+", said), re.search(r"token\s+(\S+)", said)
        assert url is not None
        assert token is not None
        answer = ask(url[0], token[1], "tools/list")
        assert answer["result"]["tools"]
    assert not imported(short_folder, RUN | {"jsonschema"})


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """The environment in which commands find a onemcp that runs."""
    with tempfile.TemporaryDirectory(prefix="onemcp-") as name:
        environ = environment_in(Path(name))
        with running(Path(name), environ):
            yield environ


@pytest.mark.parametrize("line", ["status", "restart demo", "reset demo", "tools"])
def test_commands_have_what_they_draw_with(line: str, server: dict[str, str]):
    command = [sys.executable, "-m", "onemcp", *line.split()]
    ended = subprocess.run(command, capture_output=True, check=False, text=True, env=server)
    assert ended.stderr == ""
    assert "demo" in ended.stdout
