"""Which options differ between two configurations: their names, never their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from onemcp.config._backend import Backend
from onemcp.config._model import Configuration
from onemcp.config._problems import Path, camel_case, render_path
from onemcp.config._transport import HttpTransport, Transport
from onemcp.config._views import View

_NAMED: Final = frozenset({"backends", "views"})
_KEYS: Final = frozenset({"name", "transport"})


Parts: TypeAlias = Mapping[str | int, Any]
"""What a value is made of, by name or place."""


def differences(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """Return the options that differ, as in `mcpServers.github.args`, in a fixed order.

    What is there as a whole in one of them only is told as a whole.
    """
    return tuple(map(render_path, _differences(old, new, ())))


def _differences(old: Any, new: Any, path: Path) -> Iterator[Path]:
    if not _differ(old, new):
        return
    before, after = _parts(old), _parts(new)
    if before is None or after is None or type(old) is not type(new):
        yield path
        return
    found = False
    for key in dict.fromkeys([*before, *after]):
        inner = (*path, key)
        if key not in before or key not in after:
            found = True
            yield inner
        elif _differ(before[key], after[key]):
            found = True
            yield from _differences(before[key], after[key], inner)
    if not found:  # nothing but the order
        yield path


def _differ(old: Any, new: Any) -> bool:
    # The order of servers and views decides who gets a name that two of them want.
    in_order = isinstance(old, Mapping) and isinstance(new, Mapping) and list(old) != list(new)
    return in_order or bool(old != new)


def _parts(value: Any) -> Parts | None:
    """Return what a value is made of, under the names that it has in JSON; None for a plain one."""
    match value:
        case Configuration():
            named: Parts = {"mcpServers": _by_name(value.backends), "views": _by_name(value.views)}
            rest = {key: part for key, part in _fields(value).items() if key not in _NAMED}
            return {**named, **rest}
        case Backend():
            own = {key: part for key, part in _fields(value).items() if key not in _KEYS}
            return {**_of_transport(value.transport), **own}
        case View():
            return {key: part for key, part in _fields(value).items() if key != "name"}
        case Mapping():
            return value
        case tuple() if any(map(attrs.has, map(type, value))):
            return dict(enumerate(value))
        case _:
            return _fields(value) if attrs.has(type(value)) else None


def _of_transport(transport: Transport) -> dict[str | int, Any]:
    fields = _fields(transport)
    if fields.pop("others", ()) and isinstance(transport, HttpTransport):
        fields["url"] = transport.urls
    return fields


def _fields(value: Any) -> dict[str | int, Any]:
    return {camel_case(each.name): getattr(value, each.name) for each in attrs.fields(type(value))}


def _by_name(values: Sequence[Backend] | Sequence[View]) -> dict[str, Any]:
    return {each.name: each for each in values}
