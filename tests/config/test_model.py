"""The model is valid once constructed, and safe to print."""

import math
from pathlib import Path

import attrs
import pytest

from onemcp.config import (
    Auth,
    Backend,
    BackendLimits,
    Backoff,
    Configuration,
    HttpTransport,
    InvalidOption,
    Limits,
    Log,
    Naming,
    Restart,
    Server,
    StdioTransport,
    Timeouts,
    Tls,
    origin_of,
)

PROGRAM = StdioTransport(command="x")


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: Backend(name="a b", transport=PROGRAM), "name"),
        (lambda: Backend(name="a" * 65, transport=PROGRAM), "name"),
        (lambda: Backend(name="a", prefix="/", transport=PROGRAM), "prefix"),
        (lambda: Backend(name="a", protocol="2023", transport=PROGRAM), "protocol"),
        (
            lambda: Backend(
                name="a",
                protocol="2026-07-28",
                transport=HttpTransport(url="http://x", type="sse"),
            ),
            "protocol",
        ),
        (lambda: StdioTransport(command=""), "command"),
        (lambda: StdioTransport(command="x", args=["\0"]), "args"),
        (lambda: StdioTransport(command="x", cwd=Path("a\0b")), "cwd"),
        (lambda: StdioTransport(command="x", env={"": "y"}), "env"),
        (lambda: StdioTransport(command="x", env={"A": "\0"}), "env"),
        (lambda: HttpTransport(url="http://["), "url"),
        (lambda: HttpTransport(url="file:///x"), "url"),
        (lambda: HttpTransport(url="http://x", type="http"), "type"),
        (lambda: HttpTransport(url="http://x", headers={"a:": "b"}), "headers"),
        (lambda: HttpTransport(url="http://x", headers={"a": "\n"}), "headers"),
        (lambda: HttpTransport(url="http://x", tls=Tls(ca_file=Path("x"))), "tls"),
        (lambda: Tls(ca_file=Path("a\0b")), "ca_file"),
        (lambda: Timeouts(start=0), "start"),
        (lambda: Timeouts(call=math.nan), "call"),
        (lambda: Backoff(initial=2, maximum=1), "initial"),
        (lambda: Restart(intensity=-1), "intensity"),
        (lambda: BackendLimits(in_flight=0), "in_flight"),
        (lambda: Server(port=-1), "port"),
        (lambda: Server(host=""), "host"),
        (lambda: Auth(mode="open"), "mode"),
        (lambda: Naming(separator=""), "separator"),
        (lambda: Limits(session_idle=0), "session_idle"),
        (lambda: Log(level="loud"), "level"),
        (lambda: Configuration(backends=[Backend(name="a", transport=PROGRAM)] * 2), "backends"),
    ],
)
def test_what_breaks_a_rule_cannot_be_built(build, option):
    with pytest.raises(InvalidOption) as caught:
        build()
    assert caught.value.option == option


def test_repr_shows_no_secret():
    configuration = Configuration(
        backends=[
            Backend(
                name="a",
                transport=HttpTransport(
                    url="https://kilroy:s3cret@x.example:8443/s3cret?key=s3cret",
                    headers={"Authorization": "Bearer s3cret"},
                ),
            ),
            Backend(
                name="b",
                transport=StdioTransport(command="x", args=["s3cret"], env={"TOKEN": "s3cret"}),
            ),
        ]
    )
    shown = repr(configuration)
    assert "s3cret" not in shown
    assert "kilroy" not in shown
    assert "url='https://x.example:8443/…'" in shown
    assert "headers={'Authorization': ***}" in shown
    assert "args=<1 hidden>, env={'TOKEN': ***}" in shown


def test_an_address_without_a_path_is_shown_whole():
    assert "url='http://[::1]:80'" in repr(HttpTransport(url="http://[::1]:80"))
    assert origin_of("http://a:b@x/y?z") == "http://x"


def test_nothing_can_be_changed():
    environment = {"A": "b"}
    transport = StdioTransport(command="x", env=environment)
    environment["A"] = "c"
    assert transport.env == {"A": "b"}
    with pytest.raises(TypeError):
        transport.env["A"] = "c"  # type: ignore[index]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        transport.command = "y"  # type: ignore[misc]


def test_a_configuration_can_be_hashed():
    backend = Backend(name="a", transport=StdioTransport(command="x", env={"A": "b"}))
    assert hash(Configuration(backends=[backend])) == hash(Configuration(backends=[backend]))


def test_a_backend_is_its_own_prefix_unless_told_otherwise():
    assert Backend(name="a", transport=PROGRAM).prefix == "a"
    assert Backend(name="a", prefix="", transport=PROGRAM).prefix == ""


@pytest.mark.requirement("basic/transports/streamable-http#security-endpoint-3")
def test_loopback_is_the_default():
    assert Server().host == "127.0.0.1"
