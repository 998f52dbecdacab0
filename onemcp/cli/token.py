"""``onemcp token``."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Final

import attrs
import click

from onemcp import config
from onemcp.auth import (
    Principal,
    TokenVerifier,
    load_keys,
    load_or_create_keys,
    new_token,
    parse_scopes,
)
from onemcp.auth.server import Records, TokenRecord, What
from onemcp.cli import records
from onemcp.cli.failures import Failure, StateUnusable
from onemcp.cli.options import as_json_option
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


def _read_scopes(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if not parse_scopes([value]):
            raise click.BadParameter(
                f"{value!r} is no scope: write mcp, backend:NAME, tag:NAME, view:NAME, "
                "tool:SERVER/PATTERN or admin."
            )
    return values or ("mcp",)


OPTIONS: Final = (
    click.option(
        "--subject",
        default="local",
        show_default=True,
        callback=_check_subject,
        help="Whom it is for; logs name its user so.",
    ),
    click.option(
        "--lifetime",
        default="30d",
        show_default=True,
        metavar="DURATION",
        callback=_read_lifetime,
        help="How long it is valid: a number and s, m, h, d or w.",
    ),
    click.option(
        "--scope",
        "scopes",
        multiple=True,
        metavar="SCOPE",
        callback=_read_scopes,
        help="What it is good for; may be given several times.  [default: mcp]",
    ),
    click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration it is for: signs with its auth.keyFile; says so if it needs none.",
    ),
)


@click.group(invoke_without_command=True)
@OPTIONS[0]
@OPTIONS[1]
@OPTIONS[2]
@OPTIONS[3]
@click.pass_context
def command(
    ctx: click.Context,
    subject: str,
    lifetime: int,
    scopes: tuple[str, ...],
    config_path: Path | None,
) -> None:
    """Issue an access token, and print it; or list and revoke those that were issued.

    It is signed with the key in the state directory, which is made if need be: a gateway of the
    same user accepts it, whatever its port. Where the configuration has an auth.keyFile, name the
    configuration.
    """
    if ctx.invoked_subcommand is None:
        _issue(subject, lifetime, scopes, config_path)


@command.command()
@OPTIONS[0]
@OPTIONS[1]
@OPTIONS[2]
@OPTIONS[3]
def issue(subject: str, lifetime: int, scopes: tuple[str, ...], config_path: Path | None) -> None:
    """Issue an access token, and print it."""
    _issue(subject, lifetime, scopes, config_path)


@command.command("list")
@as_json_option
def list_(*, as_json: bool) -> None:
    """List the tokens that were issued here and are still valid."""
    tokens = records.known().tokens.values()
    if as_json:
        click.echo(json.dumps([attrs.asdict(token) for token in tokens], indent=2))
        return
    for token in tokens:
        expires = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.expires))
        click.echo(f"{token.id}  {expires}  {token.subject}  {' '.join(token.scopes)}")


@command.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(ids: tuple[str, ...]) -> None:
    """Revoke tokens, by their ids, at once and wherever they are used."""

    def change(old: Records) -> tuple[Records, list[str]]:
        unknown = [token_id for token_id in ids if token_id not in old.tokens]
        new = old
        for token_id in () if unknown else dict.fromkeys(ids):
            new = new.without_token(token_id, old.tokens[token_id].expires)
        return new, unknown

    unknown = records.changed(change)
    if unknown:
        raise Failure(f"there is no token {unknown[0]!r}; `onemcp token list` shows them")
    for token_id in dict.fromkeys(ids):
        records.tell(What.REVOCATION, token=token_id)


def _issue(subject: str, lifetime: int, scopes: tuple[str, ...], config_path: Path | None) -> None:
    auth = records.configuration(config_path).auth
    if auth.mode == "none":
        click.echo(f"Note: {config_path} asks for no token (auth.mode is none).", err=True)
    try:
        directory = config.state_directory(os.environ)
        keys = load_or_create_keys(directory) if auth.key_file is None else load_keys(auth.key_file)
    except StateError as error:
        raise StateUnusable(str(error)) from error
    token = new_token(keys, subject, lifetime, " ".join(scopes))
    issued = TokenVerifier(keys).inspect(token, time.time())
    records.changed(lambda old: (old.with_token(_record(issued)), None))
    records.tell(
        What.TOKEN,
        subject=subject,
        client=issued.client_id,
        scopes=" ".join(scopes),
        token=issued.token_id,
    )
    click.echo(token)


def _record(issued: Principal) -> TokenRecord:
    return TokenRecord(
        id=issued.token_id,
        subject=issued.subject,
        scopes=tuple(sorted(issued.scopes)),
        issued=int(issued.issued_at),
        expires=int(issued.expires_at),
    )
