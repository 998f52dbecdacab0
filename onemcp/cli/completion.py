"""Names that the shell completes, asked of a running onemcp while somebody types."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from onemcp import config
from onemcp.cli import instance
from onemcp.cli.asking import Asker

PATIENCE: Final = 2.0
"""How long somebody who has pressed a key waits for names, in seconds."""


def backends(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a backend, with its state."""
    return _listed(ctx, incomplete, None, "backends")


def configured(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a backend in the configuration file."""
    try:
        file = config.find(ctx.params.get("config_path"), Path.cwd(), os.environ)
        known = () if file is None else config.load(file).backends
    except config.ConfigurationError:
        return []
    return list(_items([{"name": each.name} for each in known], incomplete))


def tools(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a tool."""
    return _listed(ctx, incomplete, "tools/list", "tools")


def resources(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the URI of a resource."""
    return _listed(ctx, incomplete, "resources/list", "resources")


def prompts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a prompt."""
    return _listed(ctx, incomplete, "prompts/list", "prompts")


def unapproved(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of what waits for approval of the backend that has been named."""
    given = ctx.params
    try:
        with instance.reached(given.get("socket"), given.get("config_path"), PATIENCE) as running:
            changes = running.ask(f"/backends/{given['backend']}/pins")["changes"]
    except click.ClickException:
        return []
    told = [{"name": each["name"], "state": each["change"]} for each in changes]
    return list(_items(told, incomplete))


def _listed(
    ctx: click.Context, incomplete: str, method: str | None, key: str
) -> list[CompletionItem]:
    found: list[CompletionItem] = []
    try:
        given = ctx.params
        reached = instance.reached(given.get("socket"), given.get("config_path"), PATIENCE)
        with reached as running:
            if method is None:
                items = running.ask("/backends")
            else:
                items = Asker(running, given.get("view")).list(method, key)
        found.extend(_items(items, incomplete))
    except click.ClickException:
        pass  # nothing runs, or doesn't answer: there is nothing to complete
    return found


def _items(items: list[dict[str, Any]], incomplete: str) -> Iterator[CompletionItem]:
    for item in items:
        value = str(item.get("uri") or item["name"])
        about = str(item.get("state") or item.get("description") or item.get("title") or "")
        if value.startswith(incomplete):
            yield CompletionItem(value, help=about.partition("\n")[0][:80] or None)
