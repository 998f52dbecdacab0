"""Prompts, resources and completions of the reference server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import mcp_types as types
from everything_asking import input_required_prompt
from everything_call import Call, text
from everything_content import IMAGE
from mcp.shared.exceptions import MCPError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    PromptOutcome = types.GetPromptResult | types.InputRequiredResult
    PromptRun = Callable[[Call], Awaitable[PromptOutcome]]

WATCHED = "test://watched-resource"
TEMPLATE = ("test://template/", "/data")
LEGACY_RESOURCE_NOT_FOUND = -32002
"""The code that revisions before 2026-07-28 have for a resource that does not exist."""

RESOURCES = (
    types.Resource(
        uri="test://static-text",
        name="static-text",
        description="A static text resource",
        mime_type="text/plain",
    ),
    types.Resource(
        uri="test://static-binary",
        name="static-binary",
        description="A static image",
        mime_type="image/png",
    ),
    types.Resource(
        uri=WATCHED,
        name="watched-resource",
        description="A resource to subscribe to",
        mime_type="text/plain",
    ),
)
TEMPLATES = (
    types.ResourceTemplate(
        uri_template="{id}".join(TEMPLATE),
        name="template",
        description="A resource with a parameter",
        mime_type="application/json",
    ),
)


def read(uri: str, *, modern: bool) -> types.TextResourceContents | types.BlobResourceContents:
    """Return the contents of a resource.

    Raises:
        MCPError: There is no such resource; the code is the one of the era.
    """
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=IMAGE)
    texts = {
        "test://static-text": "This is the content of the static text resource.",
        WATCHED: "Watched resource content",
    }
    if uri in texts:
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=texts[uri])
    start, end = TEMPLATE
    if uri.startswith(start) and uri.endswith(end) and len(uri) > len(start + end):
        identifier = uri[len(start) : -len(end)]
        body = {"id": identifier, "templateTest": True, "data": f"Data for ID: {identifier}"}
        return types.TextResourceContents(
            uri=uri, mime_type="application/json", text=json.dumps(body, separators=(",", ":"))
        )
    raise MCPError(
        code=types.INVALID_PARAMS if modern else LEGACY_RESOURCE_NOT_FOUND,
        message="Resource not found",
        data={"uri": uri},
    )


def _messages(*contents: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=content) for content in contents]
    )


async def _simple(call: Call) -> PromptOutcome:
    return _messages(text("This is a simple prompt for testing."))


async def _with_arguments(call: Call) -> PromptOutcome:
    arg1, arg2 = call.arguments.get("arg1"), call.arguments.get("arg2")
    return _messages(text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))


async def _with_embedded_resource(call: Call) -> PromptOutcome:
    resource = types.TextResourceContents(
        uri=str(call.arguments.get("resourceUri")),
        mime_type="text/plain",
        text="Embedded resource content for testing.",
    )
    return _messages(
        types.EmbeddedResource(type="resource", resource=resource),
        text("Please process the embedded resource above."),
    )


async def _with_image(call: Call) -> PromptOutcome:
    return _messages(
        types.ImageContent(type="image", data=IMAGE, mime_type="image/png"),
        text("Please analyze the image above."),
    )


def _prompt(name: str, description: str, *arguments: str) -> types.Prompt:
    return types.Prompt(
        name=name,
        description=description,
        arguments=[
            types.PromptArgument(name=each, description=f"The {each}", required=True)
            for each in arguments
        ],
    )


PROMPTS: tuple[tuple[types.Prompt, PromptRun], ...] = (
    (_prompt("test_simple_prompt", "A prompt without arguments"), _simple),
    (
        _prompt("test_prompt_with_arguments", "A prompt with arguments", "arg1", "arg2"),
        _with_arguments,
    ),
    (
        _prompt("test_prompt_with_embedded_resource", "A prompt with a resource", "resourceUri"),
        _with_embedded_resource,
    ),
    (_prompt("test_prompt_with_image", "A prompt with an image"), _with_image),
    (_prompt("test_input_required_result_prompt", "A prompt that asks"), input_required_prompt),
)


def complete(params: types.CompleteRequestParams) -> types.Completion:
    """Return the made-up values that begin with what was typed."""
    values = [
        value
        for value in ("paris", "park", "party", "testValue1", "testValue2")
        if value.startswith(params.argument.value)
    ]
    return types.Completion(values=values, total=len(values), has_more=False)
