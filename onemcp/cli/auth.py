"""``onemcp auth``."""

from __future__ import annotations

import time

import click

from onemcp.auth.server import ALL, Records, of_client, of_user
from onemcp.cli import records
from onemcp.cli.failures import Failure


@click.group()
def command() -> None:
    """Show who was let in, and revoke it."""


@command.command("list")
def list_() -> None:
    """List what users have let clients do."""
    known = records.known()
    for grant in known.grants.values():
        registered = known.clients.get(grant.client_id)
        name = f" ({registered.name})" if registered is not None else ""
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(grant.used))
        scopes = " ".join(grant.scopes)
        click.echo(f"{used}  {grant.subject}  {grant.client_id}{name}  {scopes}  {grant.resource}")


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
    click.echo(f"Ended {ended} login{'' if ended == 1 else 's'}; tokens of before are refused.")
