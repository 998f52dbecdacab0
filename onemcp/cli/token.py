"""``onemcp token``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import click

from onemcp import config
from onemcp.auth import load_or_create_keys, new_token
from onemcp.cli.failures import ConfigurationUnusable, StateUnusable
from onemcp.state import StateError

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST_LIFETIME: Final = 3650 * UNITS["d"]
LONGEST_SUBJECT: Final = 256


def _read_lifetime(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", value.strip())
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_LIFETIME:
        raise click.BadParameter(
            f"{value!r} is not 1s to 3650d: write a number and s, m, h, d or w."
        )
    return seconds


def _check_subject(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > LONGEST_SUBJECT:
        raise click.BadParameter(f"use 1 to {LONGEST_SUBJECT} printable characters.")
    return value


@click.command()
@click.option(
    "--subject",
    default="local",
    show_default=True,
    callback=_check_subject,
    help="Whom it is for; logs name its user so.",
)
@click.option(
    "--lifetime",
    default="30d",
    show_default=True,
    metavar="DURATION",
    callback=_read_lifetime,
    help="How long it is valid: a number and s, m, h, d or w.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration it is for; says so if that needs no token.",
)
def command(subject: str, lifetime: int, config_path: Path | None) -> None:
    """Issue an access token, and print it.

    It is signed with the key in the state directory, which is made if need be: a gateway of the
    same user accepts it, whatever its port.
    """
    if config_path is not None:
        _check_configuration(config_path)
    try:
        keys = load_or_create_keys(config.state_directory(os.environ))
    except StateError as error:
        raise StateUnusable(str(error)) from error
    click.echo(new_token(keys, subject, lifetime))


def _check_configuration(path: Path) -> None:
    try:
        configuration = config.load(path)
    except config.ConfigurationError as error:
        raise ConfigurationUnusable(str(error)) from error
    if configuration.auth.mode == "none":
        click.echo(f"Note: {path} asks for no token (auth.mode is none).", err=True)
