"""Servers of which there are several, as the configuration has them."""

from __future__ import annotations

import attrs

from onemcp.config import Backend, Configuration, HttpTransport, StdioTransport, differences


def test_programs_are_told_which_replica_they_are():
    program = StdioTransport(command="x", env={"A": "b"})
    backend = Backend(name="a", transport=program, replicas=2, sticky=False)
    replicas = backend.of_replicas()
    assert backend.is_replicated
    assert {key: each.transport.env for key, each in replicas.items()} == {
        "1": {"A": "b", "ONEMCP_REPLICA": "1"},
        "2": {"A": "b", "ONEMCP_REPLICA": "2"},
    }
    # What is about all of them together changes none of them.
    assert attrs.evolve(backend, replicas=3, sticky=True).of_replicas()["1"] == replicas["1"]


def test_addresses_are_known_by_their_hosts_or_else_by_their_places():
    def keys(*urls: str) -> dict[str, str]:
        first, *others = urls
        backend = Backend(name="a", transport=HttpTransport(url=first, others=others))
        return {key: each.transport.url for key, each in backend.of_replicas().items()}

    one, two = "http://u:secret@one:1/mcp?key=secret", "http://two/mcp"
    assert keys(one, two) == {"one:1": one, "two": two}
    assert keys(two, f"{two}2") == {"1": two, "2": f"{two}2"}
    assert "secret" not in repr(HttpTransport(url=two, others=(one,)))


def test_a_server_at_one_address_has_no_replicas():
    backend = Backend(name="a", transport=HttpTransport(url="http://one"))
    assert not backend.is_replicated


def test_another_address_is_another_url():
    def with_urls(*others: str) -> Configuration:
        transport = HttpTransport(url="http://one", others=others)
        return Configuration(backends=(Backend(name="a", transport=transport),))

    assert differences(with_urls(), with_urls("http://two")) == ("mcpServers.a.url",)
    assert differences(with_urls("http://two"), with_urls("http://2")) == ("mcpServers.a.url",)
