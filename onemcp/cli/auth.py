"""``onemcp auth``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from onemcp import config
from onemcp.auth import KEYS_FILE, KeyStore, change_keys, renewed, rotated
from onemcp.auth.server import ALL, Grant, Records, What, of_client, of_user
from onemcp.cli import records
from onemcp.cli.failures import Failure, StateUnusable
from onemcp.cli.options import as_json_option
from onemcp.state import StateError


@click.group()
def command() -> None:
    """Show who was let in, and revoke it."""


@command.command("list")
@as_json_option
def list_(*, as_json: bool) -> None:
    """List what users have let clients do."""
    known = records.known()
    if as_json:
        told = [_told(grant, known) for grant in known.grants.values()]
        click.echo(json.dumps(told, indent=2))
        return
    for grant in known.grants.values():
        registered = known.clients.get(grant.client_id)
        name = f" ({registered.name})" if registered is not None else ""
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(grant.used))
        scopes = " ".join(grant.scopes)
        click.echo(f"{used}  {grant.subject}  {grant.client_id}{name}  {scopes}  {grant.resource}")


def _told(grant: Grant, known: Records) -> dict[str, Any]:
    registered = known.clients.get(grant.client_id)
    return {
        "id": grant.id,
        "client": grant.client_id,
        "clientName": None if registered is None else registered.name,
        "subject": grant.subject,
        "scopes": grant.scopes,
        "resource": grant.resource,
        "service": grant.service,
        "created": grant.created,
        "used": grant.used,
        "expires": grant.expires,
    }


@command.command()
@click.option("--client", metavar="ID", help="All that a client was let do.")
@click.option("--user", metavar="NAME", help="All that a user has let clients do.")
@click.option("--all", "everything", is_flag=True, help="All there is, issued tokens included.")
def revoke(client: str | None, user: str | None, *, everything: bool) -> None:
    """End logins, at once and wherever they are used.

    A gateway that runs ends what it is serving to them. Whoever may come back has to log in again.
    """
    keys = [
        *([of_client(client)] if client else []),
        *([of_user(user)] if user else []),
        *([ALL] if everything else []),
    ]
    if len(keys) != 1:
        raise click.UsageError("Say one of --client, --user and --all.")

    def change(old: Records) -> tuple[Records, int]:
        new = old.revoked_for(keys[0], time.time())
        return new, len(old.grants) - len(new.grants)

    try:
        ended = records.changed(change)
    except ValueError as error:
        raise Failure(str(error)) from error
    whom = "everybody" if everything else ""
    records.tell(What.REVOCATION, client=client or "", subject=user or whom)
    click.echo(f"Ended {ended} login{'' if ended == 1 else 's'}; tokens of before are refused.")


@command.command()
@click.option(
    "--discard-old",
    is_flag=True,
    help="Somebody else may have the old keys: nothing counts any more that they have signed.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration whose auth.keyFile is meant, if it has one.",
)
def rotate(config_path: Path | None, *, discard_old: bool) -> None:
    """Make a new key to sign tokens with; a gateway that runs sees it at once.

    The old keys go on to verify while anything counts that they have signed: nobody notices. With
    --discard-old, clients that have logged in get new tokens by themselves, and what `onemcp token`
    has issued has to be issued again.
    """
    path = (
        records.configuration(config_path).auth.key_file
        or config.state_directory(os.environ) / KEYS_FILE
    )
    issued = [token.issued for token in records.known().tokens.values()]

    def change(keys: KeyStore) -> KeyStore:
        now = time.time()
        return renewed(now) if discard_old else rotated(keys, now, issued)

    try:
        keys = change_keys(path, change)
        if discard_old:
            # Ends what is being served to the bearers of such tokens.
            records.changed(lambda old: (old.with_cutoff(ALL, time.time()), None))
    except StateError as error:
        raise StateUnusable(str(error)) from error
    except ValueError as error:
        raise Failure(str(error)) from error
    reason = "the old ones are discarded" if discard_old else "the old ones go on to verify"
    records.tell(What.KEYS, reason=f"new key {keys.newest.key_id}; {reason}")
    old = len(keys.keys) - 1
    click.echo(f"{keys.newest.key_id} signs from now on; {old} older still verify.")
