"""What servers ask in the course of a call, put to the person at the terminal.

Implements the client's side of form and URL mode elicitation (2026-07-28, Elicitation): who asks is
shown, everything may be declined, answers are checked against the schema, and shown once more
before they are sent. Where there is nobody to ask, every question is declined. Prompts go to
stderr: stdout is for what the call returns.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import click

from onemcp.cli.failures import Failure
from onemcp.protocol.methods import ELICIT
from onemcp.protocol.questions import URL
from onemcp.telemetry import scrub_text

CAPABILITIES: Final[Mapping[str, Any]] = {"elicitation": {"form": {}, "url": {}}}
"""What may be asked of a shell. It has no model and no roots."""

DECLINED: Final[Mapping[str, Any]] = {"action": "decline"}
CANCELLED: Final[Mapping[str, Any]] = {"action": "cancel"}
_ACTIONS: Final = ("send", "change", "decline")


def is_interactive() -> bool:
    """Tell whether somebody is there who sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def answer(asker: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a question, or decline it.

    Args:
        asker: Who asks, in words.
        method: The method of the question.
        params: Its parameters.

    Returns:
        The result that the question is answered with.
    """
    message = _shown(params.get("message", ""))
    if method != ELICIT or not is_interactive():
        _say(f"{asker} asks: {message}\nDeclined: there is nobody to answer.")
        return DECLINED
    _say(f"{asker} asks: {message}")
    try:
        if params.get("mode") == URL:
            return _visit(str(params.get("url", "")))
        schema = params.get("requestedSchema")
        return _fill_in(schema if isinstance(schema, dict) else {})
    except click.Abort:
        _say("")
        return CANCELLED


def _visit(url: str) -> Mapping[str, Any]:
    _say(f"It wants you to go to {urlsplit(url).hostname or '?'}, with a browser:\n  {_shown(url)}")
    went = click.confirm("Have you been there, and shall the call go on?", default=None, err=True)
    return {"action": "accept"} if went else DECLINED


# --- forms --------------------------------------------------------------------------------------


def _fill_in(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask for all fields, and let the person look at the whole before it is sent.

    Raises:
        Failure: The server's form is none.
    """
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - only where needed

    try:
        Draft202012Validator.check_schema(form)
    except SchemaError as error:
        raise Failure(
            f"the server asks with a form that is none: {_shown(error.message)}"
        ) from error
    required, content = form.get("required", []), dict[str, Any]()
    while True:
        for name, schema in form.get("properties", {}).items():
            value = _field(name, schema, content.get(name), is_required=name in required)
            content.pop(name, None)
            if value is not None:
                content[name] = value
        _say(json.dumps(content, indent=2, ensure_ascii=False))
        action = click.prompt(
            "What now?", type=click.Choice(_ACTIONS), default=_ACTIONS[0], err=True
        )
        if action != "change":
            return {"action": "accept", "content": content} if action == "send" else DECLINED


def _field(name: str, schema: Mapping[str, Any], known: Any, *, is_required: bool) -> Any:
    """Ask for a field until its value fits; None where it is left out."""
    if schema.get("description"):
        _say(f"  {_shown(schema['description'])}")
    choices = _choices(schema)
    for value, title in choices.items():
        _say(f"    {_shown(value)}{f'  {_shown(title)}' if title != value else ''}")
    default = schema.get("default") if known is None else known
    if default is None and not is_required:
        default = ""
    return click.prompt(
        _shown(schema.get("title") or name) + ("" if is_required else " (may be left out)"),
        default=_written(default),
        value_proc=_reader(schema, choices, is_required=is_required),
        show_default=default not in {"", None} if not isinstance(default, list) else True,
        err=True,
    )


def _reader(
    schema: Mapping[str, Any], choices: Mapping[str, str], *, is_required: bool
) -> Callable[[str], Any]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - only where a form is filled in

    validator = Draft202012Validator(dict(schema))

    def read(text: str) -> Any:
        if not text and not is_required:
            return None
        try:
            value = _READERS.get(str(schema.get("type")), _text)(text, choices)
        except ValueError:
            raise click.BadParameter(f"this takes a value of type {schema.get('type')}") from None
        for error in validator.iter_errors(value):
            raise click.BadParameter(_shown(error.message))
        return value

    return read


def _text(text: str, choices: Mapping[str, str]) -> str:
    return next((value for value, title in choices.items() if text == title), text)


def _number(text: str, _: Mapping[str, str]) -> float:
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def _integer(text: str, _: Mapping[str, str]) -> int:
    return int(text)


def _boolean(text: str, _: Mapping[str, str]) -> bool:
    answers = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
    if text.lower() not in answers:
        raise ValueError(text)
    return answers[text.lower()]


def _several(text: str, choices: Mapping[str, str]) -> list[str]:
    return [_text(part.strip(), choices) for part in text.split(",") if part.strip()]


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, str]], Any]]] = {
    "string": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "array": _several,
}


def _choices(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return what there is to choose from, with titles (Elicitation, Enum Schema)."""
    items = schema.get("items")
    of = items if isinstance(items, dict) else schema
    titled = of.get("oneOf") or of.get("anyOf") or []
    named = dict(zip(of.get("enum", []), schema.get("enumNames", []), strict=False))
    plain = {str(each): str(named.get(each, each)) for each in of.get("enum", [])}
    return plain | {
        str(e["const"]): str(e.get("title", e["const"])) for e in titled if "const" in e
    }


def _written(default: Any) -> str | None:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, list):
        return ", ".join(map(str, default))
    return None if default is None else str(default)


def _shown(text: Any) -> str:
    """Return a server's words as a terminal may have them."""
    return scrub_text(str(text), lines=True)


def _say(text: str) -> None:
    click.echo(text, err=True)
