"""From plain values that the schema let pass to the model, which has the last word."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import Any, TypeAlias, TypeVar

import attrs
import cattrs
from attrs import fields
from cattrs import AttributeValidationNote, BaseValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from onemcp.config._auth import Auth
from onemcp.config._backend import Backend
from onemcp.config._flaws import find_flaws
from onemcp.config._limits import Limits
from onemcp.config._log import Log
from onemcp.config._login import LOGINS, Login
from onemcp.config._model import Configuration, Control, Naming
from onemcp.config._problems import Path, camel_case
from onemcp.config._rules import InvalidOption
from onemcp.config._server import Server
from onemcp.config._telemetry import Telemetry
from onemcp.config._transport import HttpTransport, StdioTransport, Transport
from onemcp.config._views import View

T = TypeVar("T")
Object: TypeAlias = Mapping[str, Any]

SECTIONS: Mapping[str, type[Any]] = {
    "server": Server,
    "auth": Auth,
    "naming": Naming,
    "limits": Limits,
    "log": Log,
    "telemetry": Telemetry,
    "control": Control,
}


@attrs.frozen
class Refusal:
    """One value the model refuses.

    Attributes:
        path: Where.
        message: What is wrong; never holds a value.
        remedy: What to do about it.
    """

    path: Path
    message: str
    remedy: str


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(float, lambda value, _: float(value))
    converter.register_structure_hook(int, lambda value, _: int(value))
    converter.register_structure_hook(bool, lambda value, _: bool(value))  # not an int here
    converter.register_structure_hook(FilePath, lambda value, _: FilePath(value))
    converter.register_structure_hook(Transport, lambda value, _: value)
    converter.register_structure_hook(Login | None, lambda value, _: _login(converter, value))
    converter.register_structure_hook_factory(attrs.has, _structuring)
    return converter


def _structuring(cls: type[Any], converter: cattrs.Converter) -> Callable[[Object, Any], Any]:
    """Make the function that builds a class; only for those that a configuration has."""
    renamed: Any = {field.name: override(rename=camel_case(field.name)) for field in fields(cls)}
    return make_dict_structure_fn(cls, converter, **renamed)


def structure(document: Object, *, spoilt: set[Path]) -> tuple[Configuration | None, list[Refusal]]:
    """Build the configuration out of what is not `spoilt`.

    Args:
        document: The plain values.
        spoilt: Paths at which something is wrong already; nothing around them is looked at.

    Returns:
        The configuration, or None when something is wrong; and what the model refuses.
    """
    converter = _make_converter()
    refusals: list[Refusal] = []

    def attempt(path: Path, build: Callable[[], T]) -> T | None:
        if any(bad[: len(path)] == path or bad == path[: len(bad)] for bad in spoilt):
            return None
        try:
            return build()
        except (InvalidOption, BaseValidationError) as error:
            refusals.extend(_refusals(error, path))
            return None

    servers = document.get("mcpServers")
    backends = [
        attempt(("mcpServers", name), partial(_backend, converter, name, entry))
        for name, entry in (servers.items() if isinstance(servers, Mapping) else ())
    ]
    sections: dict[str, Any] = {
        name: attempt((name,), partial(converter.structure, document[name], cls))
        for name, cls in SECTIONS.items()
        if name in document
    }
    shown = document.get("views")
    views = [
        attempt(("views", name), partial(converter.structure, {**entry, "name": name}, View))
        for name, entry in (shown.items() if isinstance(shown, Mapping) else ())
        if isinstance(entry, Mapping)
    ]
    if spoilt or refusals:
        return None, refusals
    built = tuple(backend for backend in backends if backend is not None)
    seen = tuple(view for view in views if view is not None)
    refusals.extend(
        Refusal(flaw.path, flaw.message, flaw.remedy)
        for flaw in find_flaws(built, seen, sections.get("auth", Auth()))
    )
    if refusals:
        return None, refusals
    return Configuration(backends=built, views=seen, **sections), []


def _refusals(error: BaseException, path: Path) -> Iterator[Refusal]:
    """Gather what the model refused from the groups that cattrs wraps around it."""
    if isinstance(error, InvalidOption):
        yield Refusal((*path, camel_case(error.option)), str(error), error.remedy)
    elif isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _refusals(inner, (*path, *_steps(inner)))
    else:  # the schema let through what the model cannot take: a mistake of ours
        raise error


def _steps(error: BaseException) -> Iterator[str | int]:
    """Yield the steps from a value to the member or item of it that an error is about."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            yield camel_case(note.name)
        elif isinstance(note, IterableValidationNote):
            yield note.index


def _backend(converter: cattrs.Converter, name: str, entry: Object) -> Backend:
    kind = StdioTransport if "command" in entry else HttpTransport
    _check_type(entry, kind)
    if "enabled" in entry and entry.get("disabled", not entry["enabled"]) == entry["enabled"]:
        raise InvalidOption("disabled", 'contradicts "enabled"', "Keep one of the two")
    of_transport = {camel_case(field.name) for field in fields(kind)}
    given = {key: value for key, value in entry.items() if key in of_transport}
    if given.get("type") == "http":
        given["type"] = "streamable-http"
    if isinstance(given.get("url"), list):
        given["url"], *given["others"] = given["url"]
    own = {key: value for key, value in entry.items() if key not in of_transport}
    own["transport"] = converter.structure(given, kind)
    own["name"] = name
    own["enabled"] = entry.get("enabled", not entry.get("disabled", False))
    return converter.structure(own, Backend)


def _login(converter: cattrs.Converter, entry: Object) -> Login:
    if "type" not in entry and "per" not in entry:
        raise InvalidOption("type", "is missing", 'Add "type": "authorization_code", or another')
    said = entry.get("type", "authorization_code")
    kind = LOGINS[said]
    own = {camel_case(field.name) for field in fields(kind)}
    for option in entry.keys() - {"type"} - own:
        raise InvalidOption(option, f'does not go with "type": "{said}"', f'Remove "{option}"')
    needed = [field.name for field in fields(kind) if field.default is attrs.NOTHING]
    for option in map(camel_case, needed):
        if option not in entry:
            raise InvalidOption(option, f'is needed by "type": "{said}"', f'Add "{option}"')
    given = {key: value for key, value in entry.items() if key in own}
    login: Login = converter.structure(given, kind)
    return login


def _check_type(entry: Object, kind: type[Transport]) -> None:
    said = entry.get("type")
    if said is None or (said == "stdio") == (kind is StdioTransport):
        return
    has = "command" if kind is StdioTransport else "url"
    raise InvalidOption("type", f'"{said}" does not go with "{has}"', 'Remove "type"')
