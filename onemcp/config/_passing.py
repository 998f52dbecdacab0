"""Whether the schema lets a document pass, without jsonschema.

jsonschema tells what is wrong, and where. Nearly always nothing is, and to be told so takes
40 ms and 3 MiB, for importing it. So this looks first. It knows the keywords that the schema of the
configuration uses. It lets nothing pass that jsonschema doesn't; what it isn't sure of, such as
whether two objects are equal, it leaves to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]
Passes: TypeAlias = Callable[[Any, Schema], bool]
"""Tells whether a value passes a schema: one that is in another."""

DEFINITIONS: Final = "#/$defs/"

ANNOTATIONS: Final = frozenset(
    {"$schema", "$defs", "title", "description", "default", "examples", "patternErrorMessage"}
)
"""Keywords that refuse nothing."""


def matches(pattern: str, text: str) -> bool:
    """Match as ECMA-262 does, where `$` is the very end, not what precedes a last line break."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None


def passes(value: object, schema: Schema) -> bool:
    """Tell whether a value passes for sure.

    Args:
        value: Plain values, as JSON has them.
        schema: The schema, with the definitions that it refers to.
    """
    definitions = schema["$defs"]

    def one(value: Any, schema: Schema) -> bool:
        return all(keyword in ANNOTATIONS or holds(keyword, value, schema) for keyword in schema)

    def holds(keyword: str, value: Any, schema: Schema) -> bool:
        if keyword == "$ref":
            return one(value, definitions[schema[keyword].removeprefix(DEFINITIONS)])
        kind, rule = RULES.get(keyword, UNKNOWN)
        return not is_a(kind, value) or rule(value, schema[keyword], schema, one)

    return one(value, schema)


def is_a(kind: str, value: object) -> bool:
    """Tell whether a value is of a type of JSON Schema's, or ``any``."""
    if isinstance(value, bool):
        return kind in {"boolean", "any"}
    return isinstance(value, TYPES[kind])


TYPES: Final[Mapping[str, type[Any] | tuple[type[Any], ...]]] = MappingProxyType(
    {
        "any": object,
        "array": list,
        "boolean": bool,
        "integer": int,  # of 1.0 we aren't sure
        "null": type(None),
        "number": (int, float),
        "object": dict,
        "string": str,
    }
)


def _type(value: Any, kinds: Any, _schema: Schema, _passes: Passes) -> bool:
    return any(is_a(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _additional(value: Any, allowed: Any, schema: Schema, passes: Passes) -> bool:
    more = [member for name, member in value.items() if name not in schema.get("properties", ())]
    return not more or (allowed is not False and all(passes(member, allowed) for member in more))


def _dependent(value: Any, needed: Any, _schema: Schema, _passes: Passes) -> bool:
    return all(
        name not in value or all(other in value for other in others)
        for name, others in needed.items()
    )


def _each(value: Any, each: Any, _schema: Schema, passes: Passes) -> bool:
    return all(passes(item, each) for item in value)


def _one_of(value: Any, ways: Any, _schema: Schema, _passes: Passes) -> bool:
    if any(way.keys() != {"required"} for way in ways):
        return False  # what we aren't sure of might be a second one
    return sum(all(name in value for name in way["required"]) for way in ways) == 1


def _properties(value: Any, known: Any, _schema: Schema, passes: Passes) -> bool:
    return all(passes(member, known[name]) for name, member in value.items() if name in known)


def _unique(value: Any, wanted: Any, _schema: Schema, _passes: Passes) -> bool:
    texts = all(isinstance(item, str) for item in value)
    return wanted is False or len(value) <= 1 or (texts and len({*value}) == len(value))


Rule: TypeAlias = Callable[[Any, Any, Schema, Passes], bool]
"""Tells whether a value obeys a keyword, of which what it says and its schema are given."""

UNKNOWN: Final[tuple[str, Rule]] = ("any", lambda *_: False)

RULES: Final[Mapping[str, tuple[str, Rule]]] = MappingProxyType(
    {
        "additionalProperties": ("object", _additional),
        "dependentRequired": ("object", _dependent),
        "enum": ("any", lambda value, known, *_: isinstance(value, str) and value in known),
        "exclusiveMinimum": ("number", lambda value, least, *_: value > least),
        "items": ("array", _each),
        "maxItems": ("array", lambda value, most, *_: len(value) <= most),
        "maximum": ("number", lambda value, most, *_: value <= most),
        "minItems": ("array", lambda value, least, *_: len(value) >= least),
        "minLength": ("string", lambda value, least, *_: len(value) >= least),
        "minProperties": ("object", lambda value, least, *_: len(value) >= least),
        "minimum": ("number", lambda value, least, *_: value >= least),
        "oneOf": ("object", _one_of),
        "pattern": ("string", lambda value, pattern, *_: matches(pattern, value)),
        "properties": ("object", _properties),
        "propertyNames": ("object", _each),
        "required": ("object", lambda value, names, *_: all(name in value for name in names)),
        "type": ("any", _type),
        "uniqueItems": ("array", _unique),
    }
)
"""Which type of values a keyword is about, and what it asks of them (JSON Schema 2020-12,
Validation, section 6, and Core, section 10)."""
