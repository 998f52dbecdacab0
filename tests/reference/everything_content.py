"""Tools that answer without asking anything: content, progress, logs, schemas, headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from everything_call import Call, missing_capability, text, tool

if TYPE_CHECKING:
    from everything_call import Outcome

IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJ"
    "RU5ErkJggg=="
)
AUDIO = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
STEP = 0.05
"""Seconds between the notifications of a tool, so that a client sees them arrive one by one."""
RECONNECTION = 0.5
"""Seconds that test_reconnection works on after it has hung up on the client."""

JSON_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
HEADER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {
            "type": "string",
            "description": "Mirrored into the Mcp-Param-Region header",
            "x-mcp-header": "Region",
        }
    },
}
WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"temperature": {"type": "number"}, "conditions": {"type": "string"}},
    "required": ["temperature", "conditions"],
}


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=IMAGE, mime_type="image/png")


def _embedded(uri: str, mime_type: str, body: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(
        type="resource",
        resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=body),
    )


async def _simple_text(call: Call) -> Outcome:
    return "This is a simple text response for testing."


async def _image_content(call: Call) -> Outcome:
    return [_image()]


async def _audio_content(call: Call) -> Outcome:
    return [types.AudioContent(type="audio", data=AUDIO, mime_type="audio/wav")]


async def _embedded_resource(call: Call) -> Outcome:
    return [
        _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ]


async def _multiple_content_types(call: Call) -> Outcome:
    return [
        text("Multiple content types test:"),
        _image(),
        _embedded(
            "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
        ),
    ]


async def _structured_content(call: Call) -> Outcome:
    weather = {"temperature": 22.5, "conditions": "clear"}
    return types.CallToolResult(content=[text(str(weather))], structured_content=weather)


async def _error_handling(call: Call) -> Outcome:
    return types.CallToolResult(
        content=[text("This tool intentionally returns an error for testing")], is_error=True
    )


async def _with_logging(call: Call) -> Outcome:
    await call.log("Tool execution started")
    await anyio.sleep(STEP)
    await call.log("Tool processing data")
    await anyio.sleep(STEP)
    await call.log("Tool execution completed")
    return "Tool with logging executed successfully"


async def _with_progress(call: Call) -> Outcome:
    for done in (0, 50, 100):
        await call.ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        if done < 100:
            await anyio.sleep(STEP)
    return "Tool with progress executed successfully"


async def _logging_tool(call: Call) -> Outcome:
    await call.log("Diagnostic trace logging activated")
    return "Logging evaluated"


async def _x_mcp_header(call: Call) -> Outcome:
    return f"region={call.arguments.get('region', '<none>')}"


async def _json_schema(call: Call) -> Outcome:
    return f"arguments={sorted(call.arguments)}"


async def _missing_capability(call: Call) -> Outcome:
    if call.capabilities.sampling is None:
        raise missing_capability({"sampling": {}})
    return "Client declared the sampling capability"


async def _reconnection(call: Call) -> Outcome:
    await call.log("Before disconnect")
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
    await anyio.sleep(RECONNECTION)
    await call.log("After reconnect")
    return "Reconnection test completed"


CONTENT_TOOLS = (
    tool("test_simple_text", "Returns simple text", _simple_text),
    tool("test_image_content", "Returns an image", _image_content),
    tool("test_audio_content", "Returns audio", _audio_content),
    tool("test_embedded_resource", "Returns an embedded resource", _embedded_resource),
    tool("test_multiple_content_types", "Returns text, image and more", _multiple_content_types),
    tool(
        "test_structured_content",
        "Returns structured content",
        _structured_content,
        output=WEATHER_SCHEMA,
    ),
    tool("test_error_handling", "Always fails", _error_handling),
    tool("test_tool_with_logging", "Logs while it runs", _with_logging),
    tool("test_tool_with_progress", "Reports progress while it runs", _with_progress),
    tool("test_logging_tool", "Logs only if the request asks for logs", _logging_tool),
    tool(
        "test_x_mcp_header",
        "Has an argument that is mirrored into a header",
        _x_mcp_header,
        schema=HEADER_SCHEMA,
    ),
    tool(
        "json_schema_2020_12_tool",
        "Has the keywords of JSON Schema 2020-12",
        _json_schema,
        schema=JSON_SCHEMA_2020_12,
    ),
    tool("test_missing_capability", "Needs the client to offer sampling", _missing_capability),
    tool("test_reconnection", "Hangs up on the client before it answers", _reconnection),
)
