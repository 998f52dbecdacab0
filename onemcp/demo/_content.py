"""The resources, the prompt and the completions."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from onemcp.protocol.errors import InvalidParams, ResourceNotFound
from onemcp.protocol.fields import Fields, split, text

from ._work import Result

WELCOME_URI: Final = "demo://welcome"
GREETING_START: Final = "demo://greeting/"
GREETING_TEMPLATE: Final = "demo://greeting/{name}"
LONGEST_NAME: Final = 100
LONGEST_QUOTE: Final = 200

PROMPT: Final = "introduce"
AUDIENCE: Final = "audience"
AUDIENCES: Final = ("administrators", "beginners", "developers", "managers", "students")
NAMES: Final = ("Ada", "Alan", "Barbara", "Donald", "Edsger", "Grace", "Tony")

WELCOME: Final = """\
# Welcome to onemcp

You are reading a resource of the demo backend through the gateway. Next:

- call the tool `demo__slow_count` and watch its progress,
- get the prompt `demo__introduce`,
- read `demo://greeting/Ada`,
- then write an `onemcp.json` that names your own MCP servers.
"""


def resources() -> list[dict[str, Any]]:
    """Describe the resources, as ``resources/list`` does."""
    return [
        {
            "uri": WELCOME_URI,
            "name": "welcome",
            "title": "Welcome",
            "description": "What this is, and what to try next.",
            "mimeType": "text/markdown",
            "size": len(WELCOME.encode()),
        }
    ]


def templates() -> list[dict[str, Any]]:
    """Describe the resource templates, as ``resources/templates/list`` does."""
    return [
        {
            "uriTemplate": GREETING_TEMPLATE,
            "name": "greeting",
            "title": "Greeting",
            "description": "A greeting for somebody.",
            "mimeType": "text/plain",
        }
    ]


def read(params: Fields) -> Result:
    """Answer ``resources/read``.

    Raises:
        InvalidParams: No URI is given.
        ResourceNotFound: There is no such resource.
    """
    uri = text(params, "uri", "uri")
    if uri == WELCOME_URI:
        return _contents(uri, "text/markdown", WELCOME)
    name = _greeted(uri)
    if name is None:
        shown = uri[:LONGEST_QUOTE]
        raise ResourceNotFound(f"Resource not found: {shown}", {"uri": shown})
    return _contents(uri, "text/plain", f"Hello, {name}!")


def _contents(uri: str, mime_type: str, content: str) -> Result:
    return {"contents": [{"uri": uri, "mimeType": mime_type, "text": content}]}


def _greeted(uri: str) -> str | None:
    """Return the name in the URI of a greeting; None for any other URI."""
    from urllib.parse import unquote  # noqa: PLC0415  (keeps the start fast)

    encoded = uri.removeprefix(GREETING_START)
    if encoded == uri or not encoded or any(mark in encoded for mark in "/?#"):
        return None
    try:
        name = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None
    return name if len(name) <= LONGEST_NAME else None


def prompts() -> list[dict[str, Any]]:
    """Describe the prompt, as ``prompts/list`` does."""
    return [
        {
            "name": PROMPT,
            "title": "Introduce onemcp",
            "description": "Ask for an introduction to onemcp.",
            "arguments": [
                {
                    "name": AUDIENCE,
                    "title": "Audience",
                    "description": f"For whom, for example {AUDIENCES[1]}.",
                    "required": True,
                }
            ],
        }
    ]


def get_prompt(params: Fields) -> Result:
    """Answer ``prompts/get``.

    Raises:
        InvalidParams: There is no such prompt, or its arguments are not as described.
    """
    name = text(params, "name", "name")
    if name != PROMPT:
        raise InvalidParams(f"Unknown prompt: {name[:LONGEST_QUOTE]}")
    arguments = split(params.get("arguments", Raw(b"{}")), "arguments")
    unknown = sorted(arguments.keys() - {AUDIENCE})
    if unknown:
        raise InvalidParams(f"Prompt {PROMPT} has no argument {unknown[0][:LONGEST_QUOTE]!r}")
    audience = text(arguments, AUDIENCE, f"argument {AUDIENCE!r} of prompt {PROMPT!r}")
    request = (
        "In one paragraph, introduce onemcp, a gateway that puts many MCP servers behind one "
        f"endpoint, to {audience}. Say what it saves them."
    )
    return {
        "description": f"An introduction to onemcp for {audience}",
        "messages": [{"role": "user", "content": {"type": "text", "text": request}}],
    }


def complete(params: Fields) -> Result:
    """Answer ``completion/complete``.

    Raises:
        InvalidParams: There is nothing of that name to complete.
    """
    ref = split(params.get("ref", Raw(b"null")), "ref")
    argument = split(params.get("argument", Raw(b"null")), "argument")
    name = text(argument, "name", "argument.name")
    start = text(argument, "value", "argument.value").casefold()
    values = [value for value in _suggestions(ref, name) if value.casefold().startswith(start)]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


def _suggestions(ref: Fields, argument: str) -> tuple[str, ...]:
    kind = text(ref, "type", "ref.type")
    if kind == "ref/prompt" and (text(ref, "name", "ref.name"), argument) == (PROMPT, AUDIENCE):
        return AUDIENCES
    if kind == "ref/resource" and (text(ref, "uri", "ref.uri"), argument) == (
        GREETING_TEMPLATE,
        "name",
    ):
        return NAMES
    raise InvalidParams("There is no such argument to complete")
