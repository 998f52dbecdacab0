"""What is accepted, and how it reads."""

import json
from pathlib import Path

import pytest

from onemcp.config import (
    Backend,
    Backoff,
    Configuration,
    ConfigurationError,
    HttpTransport,
    Problem,
    Restart,
    StdioTransport,
    load,
    parse,
    schema,
)

ENVIRON = {"TOKEN": "s3cret", "EMPTY": "", "DOLLAR": "${TOKEN}"}
REMOTE = "https://x.example"


def one(entry: str) -> str:
    return '{"mcpServers": {"a": ' + entry + "}}"


def backend_of(entry: str) -> Backend:
    (backend,) = parse(one(entry), source="f", environ=ENVIRON).backends
    return backend


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("${TOKEN}", "s3cret"),
        ("a${TOKEN}b${TOKEN}", "as3cretbs3cret"),
        ("${NOPE:-x y}", "x y"),
        ("${NOPE:-}", ""),
        ("${EMPTY:-full}", "full"),
        ("${EMPTY}", ""),
        ("${TOKEN:-x}", "s3cret"),
        ("$${TOKEN}", "${TOKEN}"),
        ("$$${TOKEN}", "$${TOKEN}"),
        ("${DOLLAR}", "${TOKEN}"),
        ("$TOKEN $ $$", "$TOKEN $ $$"),
    ],
)
def test_variables_are_replaced_in_strings(written, read):
    backend = backend_of(f'{{"command": "x", "args": ["{written}"]}}')
    assert backend.transport == StdioTransport(command="x", args=(read,))


def test_variables_are_replaced_in_every_section_but_not_in_schema():
    text = one('{"command": "x"}')[:-1] + ', "$schema": "${NOPE}", "server": {"name": "${TOKEN}"}}'
    assert parse(text, source="f", environ=ENVIRON).server.name == "s3cret"


def test_variables_come_from_the_process_when_no_environment_is_given(monkeypatch):
    monkeypatch.setenv("ONEMCP_TEST_NAME", "from-the-process")
    text = one('{"command": "${ONEMCP_TEST_NAME}"}')
    assert parse(text, source="f").backends[0].transport.command == "from-the-process"


def test_the_smallest_file_takes_every_default():
    assert parse(one('{"command": "x"}'), source="f", environ={}) == Configuration(
        backends=[Backend(name="a", transport=StdioTransport(command="x"))]
    )


def test_the_defaults_of_the_schema_are_those_of_the_model():
    definitions = schema()["$defs"]

    def defaults_of(name):
        options = definitions[name]["properties"].items()
        return {key: option["default"] for key, option in options if "default" in option}

    entry = defaults_of("backend") | {"command": "x"}
    del entry["headers"], entry["disabled"]
    for option, definition in (
        ("timeouts", "timeouts"),
        ("restart", "restart"),
        ("limits", "backendLimits"),
    ):
        entry[option] = defaults_of(definition)
    entry["restart"]["backoff"] = defaults_of("backoff")
    sections = {name: defaults_of(name) for name in ("server", "auth", "naming", "limits", "log")}
    explicit = json.dumps({"mcpServers": {"a": entry}, **sections})
    assert parse(explicit, source="f", environ={}) == parse(
        one('{"command": "x"}'), source="f", environ={}
    )


def test_everything_said_about_a_program_is_kept():
    backend = backend_of(
        '{"type": "stdio", "command": "npx", "args": ["-y"], "env": {"T": "${TOKEN}"},'
        ' "cwd": "/srv", "inherit": ["PROXY"], "prefix": "",'
        ' "protocol": "legacy", "timeouts": {"call": 1},'
        ' "restart": {"intensity": 1, "backoff": {"maximum": 9}}, "limits": {"inFlight": 5.0}}'
    )
    assert backend.transport == StdioTransport(
        command="npx", args=["-y"], env={"T": "s3cret"}, cwd=Path("/srv"), inherit=["PROXY"]
    )
    assert (backend.prefix, backend.protocol) == ("", "legacy")
    assert backend.timeouts.call == 1.0
    assert isinstance(backend.timeouts.call, float)
    assert backend.restart == Restart(intensity=1, backoff=Backoff(maximum=9.0))
    assert type(backend.limits.in_flight) is int


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", None),
        (', "type": "http"', "streamable-http"),
        (', "type": "streamable-http"', "streamable-http"),
        (', "type": "sse"', "sse"),
    ],
)
def test_the_type_of_a_remote_server_has_one_spelling(written, kept):
    backend = backend_of(f'{{"url": "{REMOTE}", "headers": {{"A": "b"}}{written}}}')
    assert backend.transport == HttpTransport(url=REMOTE, headers={"A": "b"}, type=kept)


@pytest.mark.parametrize(
    ("written", "enabled"),
    [
        ("", True),
        (', "enabled": false', False),
        (', "disabled": true', False),
        (', "disabled": false', True),
        (', "enabled": true, "disabled": false', True),
        (', "enabled": false, "disabled": true', False),
    ],
)
def test_a_server_is_switched_off_in_either_way(written, enabled):
    assert backend_of(f'{{"command": "x"{written}}}').enabled is enabled


def test_the_order_of_the_file_is_kept_and_prefixes_may_be_shared():
    entry = '{"command": "x", "prefix": "p"}'
    text = f'{{"mcpServers": {{"z": {entry}, "a": {entry}}}}}'
    configuration = parse(text, source="f", environ={})
    assert [backend.name for backend in configuration.backends] == ["z", "a"]
    assert configuration.backend("a") is configuration.backends[1]
    assert configuration.backend("b") is None


def test_a_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "onemcp.json"
    path.write_bytes(b"\xef\xbb\xbf" + one('{"command": "x"}').encode())
    assert load(path, environ={}).backends[0].name == "a"


def test_a_file_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "absent.json"
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: no such file or directory. Name an existing, readable file"
    )


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: is a directory"):
        load(tmp_path)


def test_a_file_larger_than_8_mib_is_refused(tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (8 * 1024**2 + 1))
    with pytest.raises(ConfigurationError, match=r"is larger than 8 MiB\. Is this the right file"):
        load(path)
    with pytest.raises(ConfigurationError, match="larger"):
        parse(path.read_bytes(), source="f")


def test_problems_are_values():
    problem = Problem(file="f", line=1, column=2, path="a", message="m", remedy="r")
    assert str(problem) == "f:1:2: a: m. r"
    assert problem == Problem(file="f", line=1, column=2, path="a", message="m", remedy="r")
