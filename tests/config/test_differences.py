"""Which options differ between two configurations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onemcp.config import Configuration, differences, parse

A = {"command": "a", "env": {"TOKEN": "one"}, "tags": ["x"]}
B = {"url": "https://b.example/mcp", "headers": {"authorization": "Bearer one"}}
BASE: dict[str, Any] = {
    "mcpServers": {"a": A, "b": B},
    "views": {"v": {"backends": ["a"]}},
    "auth": {"clients": {"app": {"redirectUris": ["https://x.example/"]}}},
}


def read(document: dict[str, Any]) -> Configuration:
    return parse(json.dumps(document), source="f", environ={})


def with_servers(**changes: Any) -> dict[str, Any]:
    return BASE | {"mcpServers": BASE["mcpServers"] | changes}


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (BASE, ()),
        (with_servers(a=A | {"env": {"TOKEN": "two"}}), ("mcpServers.a.env.TOKEN",)),
        (with_servers(a=A | {"env": {}}), ("mcpServers.a.env.TOKEN",)),
        (
            with_servers(a=A | {"command": "z", "tags": []}),
            ("mcpServers.a.command", "mcpServers.a.tags"),
        ),
        (with_servers(c={"command": "c"}), ("mcpServers.c",)),
        ({**BASE, "mcpServers": {"a": A}}, ("mcpServers.b",)),
        (
            with_servers(b=B | {"headers": {"authorization": "Bearer two", "x": "y"}}),
            ("mcpServers.b.headers.authorization", "mcpServers.b.headers.x"),
        ),
        (with_servers(b=B | {"timeouts": {"call": 5}}), ("mcpServers.b.timeouts.call",)),
        ({**BASE, "mcpServers": {"b": B, "a": A}}, ("mcpServers",)),
        ({**BASE, "views": {"v": {"backends": ["b"]}}}, ("views.v.backends",)),
        ({**BASE, "server": {"shutdownGrace": 1}}, ("server.shutdownGrace",)),
        (
            {**BASE, "auth": {"clients": {"app": {"redirectUris": ["https://y.example/"]}}}},
            ("auth.clients.app.redirectUris",),
        ),
        ({**BASE, "auth": {}}, ("auth.clients.app",)),
    ],
)
def test_what_differs_is_told_by_name(new, told):
    before, after = (read(each) for each in (BASE, new))
    assert differences(before, after) == told
    assert "two" not in str(differences(before, after))


def test_what_is_of_another_kind_is_told_as_it_is_written():
    before = read(BASE)
    after = read(with_servers(b={"command": "b"}))
    told = differences(before, after)
    assert "mcpServers.b.url" in told
    assert "mcpServers.b.command" in told
    issuers = [{"issuer": f"https://{name}.example", "jwks": "x"} for name in ("a", "b")]
    one = read(BASE | {"auth": {"mode": "external", "issuers": issuers}})
    issuers[1]["jwks"] = "y"
    two = read(BASE | {"auth": {"mode": "external", "issuers": issuers}})
    assert differences(one, two) == ("auth.issuers[1].jwks",)
