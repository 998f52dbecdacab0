"""``onemcp login``."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click
import trio

from onemcp.app.login import LoginOptions, log_in
from onemcp.app.upstream import LoginImpossible, UnknownServer
from onemcp.backend.oauth import OAuthError
from onemcp.cli import completion
from onemcp.cli.failures import ConfigurationUnusable, Failure, StateUnusable
from onemcp.config import ConfigurationError
from onemcp.state import StateError


@click.command()
@click.argument("backend", shell_complete=completion.configured)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default the one that `onemcp run` finds.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open the browser, or just print the address, for a browser on any machine where "
    "server.publicUrl says how it comes back to the onemcp that is running.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=300,
    show_default=True,
    help="How many seconds to wait for the browser.",
)
@click.option(
    "--user",
    default="",
    help="At a server where each user has a login: whose it is.",
)
@click.option(
    "--replica",
    default="",
    help="At a server with several addresses, each of which has its own login: which one, as "
    "`onemcp status` names it.",
)
def command(
    backend: str,
    config_path: Path | None,
    *,
    browser: bool,
    timeout: float,
    user: str,
    replica: str,
) -> None:
    """Log in at a server that wants it, with a browser.

    The login is stored in the state directory, sealed. A running onemcp connects at once, and
    renews it from then on.
    """
    where = f"{backend}, {replica}" if replica else backend

    def show(url: str) -> None:
        click.echo(f"To log in at {where}, open\n\n  {url}\n")
        if browser:
            webbrowser.open(url)

    options = LoginOptions(
        backend, config_path, timeout, local_browser=browser, user=user, replica=replica
    )
    try:
        record = trio.run(log_in, options, show)
    except BaseExceptionGroup as group:
        raise _failure_of(group.exceptions[0]) or group from group
    except Exception as error:
        raise _failure_of(error) or error from error
    scopes = " ".join(record.tokens.scopes if record.tokens else ())
    click.echo(f"Logged in at {where}" + (f", for {scopes}." if scopes else "."))


def _failure_of(error: BaseException) -> click.ClickException | None:
    """Say why there was no login, where that can be told; None where it is a bug."""
    match error:
        case ConfigurationError():
            return ConfigurationUnusable(f"the configuration cannot be used\n{error}")
        case StateError():
            return StateUnusable(str(error))
        case UnknownServer():
            return click.UsageError(str(error))
        case LoginImpossible():
            message = str(error)
        case OAuthError():
            message = f"There was no login: {error}."
        case trio.TooSlowError():
            message = "Nobody came back from the browser in time."
        case OSError():
            message = f"Cannot wait for the browser: {error.strerror or error}."
        case _:
            return None
    return Failure(message)
