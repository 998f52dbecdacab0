"""``onemcp stdio``: serve the program that has launched this one."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click
import trio

from onemcp import app
from onemcp.cli.events import new_log
from onemcp.cli.failures import leaves
from onemcp.cli.run import failure_of
from onemcp.config import Configuration, Log
from onemcp.telemetry import configure_logging


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default onemcp.json here or in ~/.config/onemcp; "
    "without any, a demo is served.",
)
def command(config_path: Path | None) -> None:
    """Serve MCP on stdin and stdout, until stdin ends.

    For clients that only launch programs. Logs go to stderr. Changes to the configuration file
    take effect at once; its address and its authentication mean nothing here.
    """
    log = new_log(configure_logging(Log(), sys.stderr))

    def configured(configuration: Configuration) -> None:
        log.logger = configure_logging(configuration.log, sys.stderr)

    serve = partial(app.serve_stdio, config_path, on_event=log, on_configuration=configured)
    try:
        trio.run(serve)
    except (Exception, BaseExceptionGroup) as error:
        for leaf in leaves(error):
            failure = failure_of(leaf)
            if failure is not None:
                raise failure from error
        raise
