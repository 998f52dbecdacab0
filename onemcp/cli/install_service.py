"""``onemcp install-service``: unit files for systemd, and their removal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from onemcp import config
from onemcp.cli.failures import Failure, StateUnusable
from onemcp.runtime import own_command
from onemcp.systemd import Installation, NotOurs, service_unit, socket_unit, systemd_version

SYSTEM_UNITS = Path("/etc/systemd/system")
SYSTEM_CONFIGURATION = Path("/etc/onemcp/onemcp.json")
SERVICE = "onemcp.service"
SOCKET = "onemcp.socket"


@click.command("install-service")
@click.option(
    "--user/--system",
    "for_user",
    default=None,
    help="For your own service manager, or for that of the machine. By default for the machine's "
    "where you are root.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default /etc/onemcp/onemcp.json, or that of your own.",
)
@click.option(
    "--account", default="onemcp", show_default=True, help="Who the machine's service runs as."
)
@click.option(
    "--socket",
    "address",
    metavar="HOST:PORT",
    help="Let systemd listen there, so that no connection is refused during a restart.",
)
@click.option("--print", "only_print", is_flag=True, help="Print the units and change nothing.")
@click.option("--remove", is_flag=True, help="Take away what this command has written.")
def command(
    *,
    for_user: bool | None,
    config_path: Path | None,
    account: str,
    address: str | None,
    only_print: bool,
    remove: bool,
) -> None:
    """Make a service of onemcp.

    Writes the unit files and says what to do next; starts nothing by itself. Units that somebody
    else has written are never replaced or removed. Says so if the configuration can't be
    used yet.
    """
    for_user = os.geteuid() != 0 if for_user is None else for_user
    path = config_path or _configuration(for_user=for_user)
    units = {
        SERVICE: service_unit(
            [*[*own_command()], "run", "--config", str(path.absolute())],
            user=None if for_user else account,
            version=systemd_version(),
            socket=address is not None,
        )
    }
    if address is not None or remove:
        units[SOCKET] = socket_unit(address or "")
    installation = Installation(_folder(for_user=for_user), units)
    if only_print:
        for name, text in units.items():
            click.echo(f"# {installation.folder / name}\n{text}")
        return
    manager = "systemctl --user" if for_user else "systemctl"
    try:
        _change(installation, manager, remove=remove)
    except NotOurs as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise StateUnusable(f"{error.filename}: {error.strerror}") from error
    if not remove:
        _tell_unless_usable(path)


def _tell_unless_usable(path: Path) -> None:
    """Say so if the service is not going to start with its configuration as it is."""
    try:
        config.load(path)
    except config.ConfigurationError:
        click.echo(f"It won't start with {path} yet: `onemcp check {path}` says why.", err=True)


def _change(installation: Installation, manager: str, *, remove: bool) -> None:
    if remove:
        removed = installation.remove()
        for path in removed:
            click.echo(f"Removed {path}")
        if removed:
            click.echo(f"Now: {manager} daemon-reload")
        else:
            click.echo("There was nothing to remove.")
        return
    for path in installation.write():
        click.echo(f"Wrote {path}")
    unit = SOCKET if SOCKET in installation.units else SERVICE
    click.echo(f"Now: {manager} daemon-reload && {manager} enable --now {unit}")


def _configuration(*, for_user: bool) -> Path:
    if not for_user:
        return SYSTEM_CONFIGURATION
    return config.configuration_directory(os.environ) / config.FILE_NAME


def _folder(*, for_user: bool, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a manager looks for units (systemd.unit(5))."""
    if not for_user:
        return SYSTEM_UNITS
    return config.configuration_directory(environ).parent / "systemd" / "user"
