"""What the JSON Schema of the configuration refuses, in words a user can act on.

Imported where there is something to refuse.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from onemcp.config._passing import matches
from onemcp.config._problems import Path
from onemcp.config._schema import schema
from onemcp.config._words import ONE_SERVER, TYPES, nearest, type_of


@attrs.frozen
class Finding:
    """One thing the schema refuses.

    Attributes:
        path: Where.
        message: What is wrong; never holds a value.
        remedy: What to do about it.
        at_key: Whether the key is at fault rather than its value.
    """

    path: Path
    message: str
    remedy: str = ""
    at_key: bool = False


@attrs.frozen
class _Failure:
    """One rule of the schema that is broken, as jsonschema tells it."""

    path: Path
    instance: Any
    rule: str
    parameter: Any
    subschema: Any
    is_name: bool

    @classmethod
    def of(cls, error: ValidationError) -> "_Failure":
        return cls(
            path=tuple(error.absolute_path),
            instance=error.instance,
            rule=str(error.validator),
            parameter=error.validator_value,
            subschema=error.schema,
            is_name="propertyNames" in error.absolute_schema_path,
        )


Translation: TypeAlias = Callable[[_Failure], Iterator[Finding]]


def _pattern(
    _validator: object, pattern: str, instance: object, _schema: object
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not matches(pattern, instance):
        yield ValidationError("does not match")


_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern}
)


def validate(document: object) -> list[Finding]:
    """Hold `document` against the schema and return all that it refuses."""
    findings: list[Finding] = []
    for error in _Validator(schema()).iter_errors(document):
        failure = _Failure.of(error)
        findings.extend(TRANSLATIONS[failure.rule](failure))
    return list(dict.fromkeys(findings))


def _unknown(failure: _Failure) -> Iterator[Finding]:
    known = list(failure.subschema["properties"])
    for key in failure.instance:
        if key not in known:
            meant = nearest(key, known)
            remedy = f'Did you mean "{meant}"?' if meant else f"Known here: {', '.join(known)}"
            yield Finding((*failure.path, key), "unknown option", remedy, at_key=True)


def _type(failure: _Failure) -> Iterator[Finding]:
    if isinstance(failure.parameter, list):
        yield from _types(failure)
        return
    wanted = str(failure.parameter)
    remedy = ""
    if isinstance(failure.instance, str):
        remedy = {
            "array": "Put it in brackets",
            "number": "Remove the quotes",
            "integer": "Remove the quotes",
            "boolean": "Write true or false without quotes",
        }.get(wanted, "")
    elif wanted == "string" and isinstance(failure.instance, bool | int | float):
        remedy = "Put it in double quotes"
    yield Finding(
        failure.path, f"must be {TYPES[wanted]}, not {_found(failure.instance, wanted)}", remedy
    )


def _types(failure: _Failure) -> Iterator[Finding]:
    wanted = " or ".join(TYPES[kind] for kind in failure.parameter)
    yield Finding(failure.path, f"must be {wanted}, not {type_of(failure.instance)}")


def _found(value: object, wanted: str) -> str:
    return "a fraction" if wanted == "integer" and isinstance(value, float) else type_of(value)


def _enum(failure: _Failure) -> Iterator[Finding]:
    known = [str(value) for value in failure.parameter]
    meant = nearest(failure.instance, known) if isinstance(failure.instance, str) else None
    remedy = f'Did you mean "{meant}"?' if meant else ""
    choice = ", ".join(f'"{value}"' for value in known)
    yield Finding(failure.path, f"must be one of {choice}", remedy)


def _required(failure: _Failure) -> Iterator[Finding]:
    for key in failure.parameter:
        if key not in failure.instance:
            what = f'"{key}"' if failure.path else ONE_SERVER
            yield Finding(failure.path, f'"{key}" is missing', f"Add {what}")


def _no_server(failure: _Failure) -> Iterator[Finding]:
    yield Finding(failure.path, "names no MCP server", f"Add one: {ONE_SERVER}")


def _one_of(failure: _Failure) -> Iterator[Finding]:
    if not isinstance(failure.instance, Mapping):
        return
    if "command" in failure.instance:
        yield Finding(
            failure.path,
            'has both "command" and "url"',
            'Keep "command" for a program to start, or "url" for a server that runs elsewhere',
        )
    else:
        yield Finding(
            failure.path,
            'has neither "command" nor "url"',
            'Add "command" for a program to start, or "url" for a server that runs elsewhere',
        )


def _dependent(failure: _Failure) -> Iterator[Finding]:
    has = [key for key in ("command", "url") if key in failure.instance]
    for key, (needed,) in failure.parameter.items():
        if has and key in failure.instance and needed not in has:
            yield Finding(
                (*failure.path, key),
                f'goes with "{needed}", but this server has "{has[0]}"',
                f'Remove "{key}"',
                at_key=True,
            )


def _bound(words: str) -> Translation:
    def translate(failure: _Failure) -> Iterator[Finding]:
        yield Finding(failure.path, f"must be {words} {failure.parameter}")

    return translate


def _pattern_missed(failure: _Failure) -> Iterator[Finding]:
    said = failure.subschema["patternErrorMessage"]
    if failure.is_name:
        yield Finding((*failure.path, str(failure.instance)), f"the name {said}", at_key=True)
    else:
        yield Finding(failure.path, said)


def _empty(failure: _Failure) -> Iterator[Finding]:
    yield Finding(failure.path, "must not be empty")


def _too_many(failure: _Failure) -> Iterator[Finding]:
    yield Finding(failure.path, f"must not have more than {failure.parameter} entries")


def _repeated(failure: _Failure) -> Iterator[Finding]:
    yield Finding(failure.path, "lists the same thing twice", "Remove one")


TRANSLATIONS: Mapping[str, Translation] = {
    "additionalProperties": _unknown,
    "type": _type,
    "enum": _enum,
    "required": _required,
    "minProperties": _no_server,
    "oneOf": _one_of,
    "dependentRequired": _dependent,
    "minimum": _bound("at least"),
    "maximum": _bound("at most"),
    "exclusiveMinimum": _bound("greater than"),
    "pattern": _pattern_missed,
    "minLength": _empty,
    "minItems": _empty,
    "maxItems": _too_many,
    "uniqueItems": _repeated,
}
