"""What changed, and what it takes."""

from onemcp.config import (
    Backend,
    BackendChange,
    Configuration,
    ConfigurationDiff,
    Limits,
    Log,
    Server,
    StdioTransport,
    diff,
)


def backend(name, command="x"):
    return Backend(name=name, transport=StdioTransport(command=command))


def of(*backends, **sections):
    return Configuration(backends=backends, **sections)


def test_nothing_changed():
    found = diff(of(backend("a")), of(backend("a")))
    assert found == ConfigurationDiff(unchanged=(backend("a"),))
    assert found.empty


def test_backends_are_told_apart_by_name_and_compared_by_value():
    found = diff(
        of(backend("gone"), backend("same"), backend("other")),
        of(backend("new"), backend("same"), backend("other", "y")),
    )
    assert found == ConfigurationDiff(
        added=(backend("new"),),
        removed=(backend("gone"),),
        changed=(BackendChange(backend("other"), backend("other", "y")),),
        unchanged=(backend("same"),),
    )
    assert not found.empty


def test_another_order_is_a_change():
    found = diff(of(backend("a"), backend("b")), of(backend("b"), backend("a")))
    assert found.reordered
    assert not found.empty
    assert not diff(of(backend("a"), backend("b")), of(backend("c"), backend("b"))).reordered


def test_options_are_named_as_in_the_file():
    found = diff(
        of(backend("a")),
        of(
            backend("a"),
            server=Server(port=1, shutdown_grace=1),
            limits=Limits(session_idle=1),
            log=Log(level="debug"),
        ),
    )
    assert found.options == (
        "server.port",
        "server.shutdownGrace",
        "limits.sessionIdle",
        "log.level",
    )
    assert found.sections == ("server", "limits", "log")
    assert found.listener == ("server.port",)
    assert not found.empty
