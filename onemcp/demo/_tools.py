"""The tools. Their arguments are types, from which the schemas are made and the checks too."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import MALFORMED

from ._work import (
    LogMessage,
    Progress,
    Result,
    ToolFailed,
    Wait,
    Work,
    failed_result,
    text_result,
)

EXACT: Final = 2**53
"""Up to here a float tells every integer from the next."""


class Echo(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `echo`."""

    message: Annotated[str, Meta(description="What to say back.", max_length=100_000)]


class Add(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `add`."""

    a: Annotated[float, Meta(description="One number.")]
    b: Annotated[float, Meta(description="The other number.")]


class Sum(msgspec.Struct):
    """What `add` gives."""

    sum: Annotated[float, Meta(description="Both numbers together.")]


class CurrentTime(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `current_time`."""

    timezone: Annotated[
        str, Meta(description="An IANA time zone, such as Europe/Berlin.", max_length=64)
    ] = "UTC"


class Time(msgspec.Struct):
    """What `current_time` gives."""

    timezone: Annotated[str, Meta(description="The time zone.")]
    time: Annotated[str, Meta(description="The time there, as ISO 8601 writes it.")]


class RollDice(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `roll_dice`."""

    count: Annotated[int, Meta(description="How many dice.", ge=1, le=100)] = 2
    sides: Annotated[int, Meta(description="How many sides each has.", ge=2, le=1000)] = 6


class Rolls(msgspec.Struct):
    """What `roll_dice` gives."""

    rolls: Annotated[list[int], Meta(description="What each one shows.")]
    total: Annotated[int, Meta(description="All of them together.")]


class SlowCount(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `slow_count`."""

    to: Annotated[int, Meta(description="How far to count.", ge=1, le=1000)] = 5
    delay: Annotated[float, Meta(description="Seconds between two numbers.", ge=0, le=10)] = 0.5


def _echo(arguments: Echo) -> Result:
    return text_result(arguments.message)


def _add(arguments: Add) -> Result:
    total = arguments.a + arguments.b
    if not math.isfinite(total):
        raise ToolFailed("The sum is too large; try smaller numbers")
    shown = int(total) if total.is_integer() and abs(total) <= EXACT else total
    return text_result(str(shown), {"sum": shown})


def _current_time(arguments: CurrentTime) -> Result:
    now = datetime.now(_time_zone(arguments.timezone)).isoformat(timespec="seconds")
    return text_result(now, {"timezone": arguments.timezone, "time": now})


def _time_zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415  (keeps the start fast)

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ToolFailed(
            f"There is no time zone {name!r}; use an IANA name such as Europe/Berlin, or UTC"
        ) from error


def _roll_dice(arguments: RollDice) -> Work:
    from secrets import randbelow  # noqa: PLC0415  (keeps the start fast)

    rolls: list[int] = []
    for number in range(1, arguments.count + 1):
        rolls.append(randbelow(arguments.sides) + 1)
        yield Progress(number, arguments.count, f"Die {number} shows {rolls[-1]}")
    shown = " + ".join(map(str, rolls))
    text = shown if len(rolls) == 1 else f"{shown} = {sum(rolls)}"
    return text_result(text, {"rolls": rolls, "total": sum(rolls)})


def _slow_count(arguments: SlowCount) -> Work:
    yield LogMessage("info", f"Counting to {arguments.to}")
    for number in range(1, arguments.to + 1):
        yield Wait(arguments.delay)
        yield LogMessage("debug", f"Reached {number}")
        yield Progress(number, arguments.to, f"{number} of {arguments.to}")
    yield LogMessage("notice", f"Counted to {arguments.to}")
    return text_result(f"Counted to {arguments.to}")


class Tool(NamedTuple):
    """One tool.

    Attributes:
        title: Its name for people.
        description: What it does, for models.
        arguments: The type of its arguments.
        call: Does it, at once or step by step.
        output: The type of its structured content, if it has any.
        idempotent: Whether calling it again with the same arguments makes no difference.
    """

    title: str
    description: str
    arguments: type[Any]
    call: Callable[[Any], Result | Work]
    output: type[Any] | None = None
    idempotent: bool = True


TOOLS: Final[dict[str, Tool]] = {
    "echo": Tool("Echo", "Say the message back.", Echo, _echo),
    "add": Tool("Add", "Add two numbers.", Add, _add, Sum),
    "current_time": Tool(
        "Current time", "Tell the time in a time zone.", CurrentTime, _current_time, Time
    ),
    "roll_dice": Tool(
        "Roll dice",
        "Roll some dice; report each as progress.",
        RollDice,
        _roll_dice,
        Rolls,
        idempotent=False,
    ),
    "slow_count": Tool(
        "Slow count",
        "Count slowly, with progress and log messages; can be cancelled.",
        SlowCount,
        _slow_count,
    ),
}


def describe() -> list[dict[str, Any]]:
    """Describe all tools, as ``tools/list`` does."""
    return [_describe(name, tool) for name, tool in TOOLS.items()]


def _describe(name: str, tool: Tool) -> dict[str, Any]:
    description = {
        "name": name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": _schema(tool.arguments),
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": tool.idempotent,
            "openWorldHint": False,
        },
    }
    if tool.output is not None:
        description["outputSchema"] = _schema(tool.output)
    return description


def _schema(of: type[Any]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([of])
    schema: dict[str, Any] = components[of.__name__]
    return {key: value for key, value in schema.items() if key not in {"title", "description"}}


def call(name: str, arguments: Raw) -> Result | Work:
    """Call a tool.

    Args:
        name: Which one.
        arguments: Its arguments, a JSON object.

    Returns:
        The result, which may tell of a failure; or the work that leads to it.

    Raises:
        InvalidParams: There is no such tool.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise InvalidParams(f"Unknown tool: {name}")
    try:
        return tool.call(msgspec.json.decode(arguments, type=tool.arguments))
    except MALFORMED as error:
        return failed_result(f"Invalid arguments of {name}: {error}")
    except ToolFailed as error:
        return failed_result(str(error))
