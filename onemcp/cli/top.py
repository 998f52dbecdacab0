"""``onemcp top``."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from onemcp.cli import instance
from onemcp.cli.picture import STYLES, SUSPENDED, WORDS, duration, new_console

KEPT_EVENTS: Final = 8
"""How many of the last failures are shown."""


@click.command()
@instance.options
def command(config_path: Path | None, socket: Path | None) -> None:
    """Show a running onemcp on the whole screen: its servers, the busiest and the ailing first.

    Goes on until interrupted. What happens is shown at once, and what makes no events, such as
    calls in flight, every two seconds.
    """
    if not sys.stdout.isatty():
        raise click.UsageError("`top` needs a terminal; `onemcp status --watch` doesn't.")
    seen: deque[str] = deque(maxlen=KEPT_EVENTS)
    with instance.reached(socket, config_path) as running:
        states = running.follow("/status", follow=1)
        before = next(states)
        with Live(
            screen(before, seen), console=new_console(), screen=True, auto_refresh=False
        ) as live:
            for status in states:
                seen.extend(changes(before, status))
                live.update(screen(status, seen), refresh=True)
                before = status


def screen(status: Mapping[str, Any], seen: Iterable[str]) -> RenderableType:
    """Draw everything at one moment."""
    about = status["instance"]
    head = Text.assemble(
        (f"{about['name']} {about['version']}", "bold"),
        f"  pid {about['pid']}  {about['url']}  up {duration(about['uptime'])}  "
        f"{status['inFlight']} in flight  {status['sessions']} sessions",
    )
    if not status["configuration"]["ok"]:
        head.append("  the configuration can't be used", "red")
    if status["configuration"]["reloadSuspended"]:
        head.append(f"  {SUSPENDED}", "red")
    table = Table(expand=True, box=None, header_style="bold")
    table.add_column("server", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for title in ("for", "in flight", "instances", "restarts", "tools"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what is wrong", ratio=1, overflow="ellipsis", no_wrap=True)
    for backend in sorted(status["backends"], key=_rank):
        table.add_row(*_row(backend))
    return Group(head, Text(), table, Text(), *(Text(line, "dim") for line in seen))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """Tell which servers have changed their state, in words."""
    states = {each["name"]: each["state"] for each in before["backends"]}
    when = time.strftime("%H:%M:%S")
    for each in after["backends"]:
        old = states.get(each["name"])
        if old != each["state"]:
            now = WORDS.get(each["state"], each["state"])
            yield f"{when}  {each['name']}  {old or 'new'} -> {now}"


def _rank(backend: Mapping[str, Any]) -> tuple[bool, int, str]:
    is_well = backend["state"] in {"up", "stopped", "disabled"}
    return is_well, -backend.get("inFlight", 0), backend["name"]


def _row(backend: Mapping[str, Any]) -> list[Text]:
    state = backend["state"]
    retry = f" (again in {duration(backend['retryIn'])})" if "retryIn" in backend else ""
    since = duration(backend["for"]) if "for" in backend else ""
    numbers = (backend.get(name) for name in ("inFlight", "instances", "restarts", "tools"))
    return [
        Text(backend["name"], "bold"),
        Text(WORDS.get(state, state) + retry, STYLES.get(state, "")),
        Text(since),
        *(Text("" if number is None else str(number)) for number in numbers),
        Text("" if state == "stopped" else backend.get("failure", ""), "red"),
    ]
