"""``onemcp top``."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from onemcp.cli import instance
from onemcp.cli.keys import ended_by
from onemcp.cli.picture import STYLES, SUSPENDED, WORDS, duration, new_console

ROOMY: Final = 150
"""From how many columns on there is room for everything."""

NARROW: Final = 80
"""With fewer columns there is no room for numbers."""

FEW_NUMBERS: Final = ("in flight", "restarts")
"""What is told of a server's numbers between the two."""

KEPT_EVENTS: Final = 8
"""How many of the last failures are shown."""


@click.command()
@instance.options
def command(config_path: Path | None, socket: Path | None) -> None:
    """Show a running onemcp on the whole screen: its servers, the busiest and the ailing first.

    Goes on until you press q, or interrupt it. What happens is shown at once, and what makes no
    events, such as calls in flight, every two seconds.
    """
    if not sys.stdout.isatty():
        raise click.UsageError("`top` needs a terminal; `onemcp status --watch` doesn't.")
    seen: deque[str] = deque(maxlen=KEPT_EVENTS)
    with ended_by(b"q"), instance.reached(socket, config_path) as running:
        states = running.follow("/status", follow=1)
        before = next(states)
        console = new_console()
        first = screen(before, seen, console.width)
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            for status in states:
                seen.extend(changes(before, status))
                live.update(screen(status, seen, console.width), refresh=True)
                before = status


def screen(status: Mapping[str, Any], seen: Iterable[str], width: int) -> RenderableType:
    """Draw everything at one moment.

    Args:
        status: The state of the instance.
        seen: What has happened.
        width: How many columns the terminal has. Where there are few, what is wrong with which
            server is told rather than how much of everything there is.
    """
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
    longest = max((len(each["name"]) for each in status["backends"]), default=0)
    name_width = min(max(longest, len("server")), width // 3)
    table.add_column("server", width=name_width, overflow="ellipsis", no_wrap=True)
    table.add_column("state", no_wrap=True)
    numbers = tuple(NUMBERS) if width >= ROOMY else FEW_NUMBERS if width >= NARROW else ()
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what is wrong", ratio=1, overflow="ellipsis", no_wrap=True)
    for backend in sorted(status["backends"], key=_rank):
        words = _in_words if width >= ROOMY else _in_a_word
        told = (Text(NUMBERS[title](backend)) for title in numbers)
        table.add_row(Text(backend["name"], "bold"), words(backend), *told, _wrong(backend))
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


def _in_words(backend: Mapping[str, Any]) -> Text:
    state = backend["state"]
    retry = f" (again in {duration(backend['retryIn'])})" if "retryIn" in backend else ""
    return Text(WORDS.get(state, state) + retry, STYLES.get(state, ""))


def _in_a_word(backend: Mapping[str, Any]) -> Text:
    return Text(backend["state"], STYLES.get(backend["state"], ""))


def _wrong(backend: Mapping[str, Any]) -> Text:
    return Text("" if backend["state"] == "stopped" else backend.get("failure", ""), "red")


def _since(backend: Mapping[str, Any]) -> str:
    return duration(backend["for"]) if "for" in backend else ""


def _number(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda backend: str(backend.get(key, ""))


NUMBERS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = MappingProxyType(
    {
        "for": _since,
        "in flight": _number("inFlight"),
        "instances": _number("instances"),
        "restarts": _number("restarts"),
        "tools": _number("tools"),
    }
)
"""What is told of a server beside its state, by the titles of the columns."""
