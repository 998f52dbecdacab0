"""``onemcp run``: the only place that starts Trio."""

from __future__ import annotations

import gc
import linecache
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click
import trio

from onemcp import app
from onemcp.cli.banner import show
from onemcp.cli.events import new_log
from onemcp.cli.failures import (
    AddressUnavailable,
    ConfigurationUnusable,
    Failure,
    StateUnusable,
    leaves,
    unreachable_address,
)
from onemcp.config import Configuration, ConfigurationError, Log
from onemcp.runtime import SocketInUse, SocketUnusable
from onemcp.state import StateError
from onemcp.supervision import SupervisionError
from onemcp.systemd import ActivationError
from onemcp.telemetry import BackgroundWriter, configure_logging


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default onemcp.json here or in ~/.config/onemcp; "
    "without any, a demo is served.",
)
@click.option("--host", help="The address to listen on, instead of the configured one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="The port to listen on, instead of the configured one; 0 takes a free one.",
)
@click.option(
    "--socket",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where commands such as `onemcp status` reach this one, instead of the configured place.",
)
def command(
    config_path: Path | None, host: str | None, port: int | None, socket: Path | None
) -> None:
    """Serve MCP until stopped.

    Changes to the configuration file take effect at once. SIGTERM, SIGINT and the end of its
    terminal stop it in order.
    """
    with BackgroundWriter(sys.stderr) as stream:
        log = new_log(configure_logging(Log(), stream))
        address: tuple[str, int] | None = None

        def configured(configuration: Configuration) -> None:
            nonlocal address
            log.logger = configure_logging(configuration.log, stream)
            server = configuration.server
            address = (host or server.host, server.port if port is None else port)

        serve = partial(
            app.serve,
            app.RunOptions(
                config_path,
                host,
                port,
                socket=socket,
                show_code=_show_code if sys.stdout.isatty() else None,
            ),
            announce=partial(show, stream=sys.stdout),
            on_event=log,
            on_configuration=configured,
        )
        _settle()
        try:
            trio.run(serve)
        except (Exception, BaseExceptionGroup) as error:
            for leaf in leaves(error):
                failure = failure_of(leaf, address)
                if failure is not None:
                    raise failure from error
            raise


def _settle() -> None:
    """Let go of what only importing has needed, and let the garbage collector pass over the rest.

    attrs keeps the source of every method that it has written, for debuggers: more than 1 MiB.
    """
    linecache.clearcache()
    gc.freeze()


def _show_code(code: str) -> None:
    click.echo(f"To log in with a browser, use the code {code}. It is good once.")


FAILURES: Final[Mapping[type[BaseException], Callable[[str], Failure]]] = MappingProxyType(
    {
        ConfigurationError: lambda why: ConfigurationUnusable(
            f"the configuration cannot be used\n{why}"
        ),
        app.UnknownView: ConfigurationUnusable,
        ActivationError: ConfigurationUnusable,
        StateError: StateUnusable,
        SocketInUse: AddressUnavailable,
        SocketUnusable: StateUnusable,
        SupervisionError: lambda why: Failure(f"onemcp gave up: {why}"),
        OSError: Failure,
    }
)
"""What to say of which error."""


def failure_of(error: BaseException, address: tuple[str, int] | None = None) -> Failure | None:
    """Say why serving failed, where that can be told; None where it is a bug."""
    if isinstance(error, OSError) and address is not None:
        return unreachable_address(error, *address)
    found = (make for kind, make in FAILURES.items() if isinstance(error, kind))
    make = next(found, None)
    return None if make is None else make(str(error))
