"""``onemcp user``."""

from __future__ import annotations

import sys

import click

from onemcp.auth import hash_password


@click.group()
def command() -> None:
    """Help with the users in the configuration."""


@command.command("hash")
def hash_() -> None:
    """Read a password, and print the hash for `auth.users`.

    On a terminal it asks twice; else it reads one line of stdin.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().removesuffix("\n")
    try:
        click.echo(hash_password(password))
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
