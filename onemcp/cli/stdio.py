"""``onemcp stdio``: serve the program that has launched this one."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click
import trio

from onemcp import app
from onemcp.cli.events import new_log
from onemcp.cli.failures import Failure, leaves
from onemcp.cli.run import failure_of
from onemcp.cli.streams import leads_nowhere
from onemcp.config import Configuration, InvalidOption, Log
from onemcp.frontend import PATH
from onemcp.telemetry import BackgroundWriter, configure_logging


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default onemcp.json here or in ~/.config/onemcp; "
    "without any, a demo is served.",
)
@click.option(
    "--connect",
    "url",
    metavar="URL",
    help="Lead to the onemcp that runs at this address, such as http://127.0.0.1:8080/mcp, "
    "instead of starting MCP servers.",
)
@click.option(
    "--attach",
    is_flag=True,
    help="Lead to the onemcp that runs with the configuration, found by its control socket, "
    "instead of starting MCP servers. It needs no token.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The control socket for --attach, where it isn't found by the configuration.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the access token for --connect. By default it is taken from the "
    "environment variable ONEMCP_TOKEN.",
)
@click.option(
    "--view",
    metavar="NAME",
    help="Serve only the named view, or the one MCP server, that the configuration has under this "
    "name. By default everything is served.",
)
def command(
    config_path: Path | None,
    url: str | None,
    socket: Path | None,
    token_file: Path | None,
    view: str | None,
    *,
    attach: bool,
) -> None:
    """Serve MCP on stdin and stdout, until stdin ends.

    For clients that only launch programs. Logs go to stderr. Changes to the configuration file
    take effect at once; its address and its authentication mean nothing here.
    """
    for name in ("stdin", "stdout"):
        if leads_nowhere(name):
            raise Failure(f"There is no {name}: it is closed, and the client would be there.")
    _check(url, token_file, config_path, view)
    options = app.StdioOptions(config_path, url, _token(token_file), view=view)
    if attach:
        options = _attached(options, socket)
    elif socket is not None:
        raise click.UsageError("--socket is for --attach.")
    with BackgroundWriter(sys.stderr) as stream:
        log = new_log(configure_logging(Log(), stream))

        def configured(configuration: Configuration) -> None:
            log.logger = configure_logging(configuration.log, stream)

        serve = partial(app.serve_stdio, options, on_event=log, on_configuration=configured)
        try:
            trio.run(serve)
        except (Exception, BaseExceptionGroup) as error:
            for leaf in leaves(error):
                failure = failure_of(leaf)
                if failure is not None:
                    raise failure from error
            raise


def _check(
    url: str | None, token_file: Path | None, config_path: Path | None, view: str | None
) -> None:
    if url is None:
        if token_file is not None:
            raise click.UsageError("--token-file is for --connect.")
        return
    if config_path is not None:
        raise click.UsageError("--connect takes no --config: the other instance has its own.")
    if view is not None:
        raise click.UsageError("--connect takes no --view: name it in the URL, as in /mcp/NAME.")
    try:
        app.bridge_configuration(url, _token(token_file))
    except InvalidOption as error:
        raise click.UsageError(f"--connect and the token: {error}") from error


def _attached(options: app.StdioOptions, socket: Path | None) -> app.StdioOptions:
    """Return how to be a bridge to the instance that runs with the configuration."""
    from onemcp.cli.instance import HOST, find  # noqa: PLC0415 - only where it is needed

    if options.connect is not None:
        raise click.UsageError("--attach and --connect lead to different places: use one of them.")
    found = socket or find(options.config)
    path = PATH if options.view is None else f"{PATH}/{options.view}"
    return app.StdioOptions(connect=f"{HOST}{path}", socket=found)


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("ONEMCP_TOKEN") or None
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--token-file {path} cannot be read: {error}") from error
