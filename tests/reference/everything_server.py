"""The reference server: fixtures bound to the official SDK's low-level server."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from everything_asking import ASKING_TOOLS
from everything_call import Call, Outcome, Tool, text, tool
from everything_content import CONTENT_TOOLS
from everything_data import PROMPTS, RESOURCES, TEMPLATES, WATCHED, complete, read
from mcp.server import Server, ServerRequestContext
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged

NAME = "onemcp-reference-server"
VERSION = "1.0.0"
REQUEST_STATE_KEY = b"a made-up key of at least thirty-two bytes"
LIST_HINT = CacheHint(ttl_ms=1000, scope="public")
READ_HINT = CacheHint(ttl_ms=0, scope="private")

Context = ServerRequestContext[Any, Any]


class _LowLevelServer(Server):
    """Tells clients of the handshake era that its lists change, which the SDK leaves out."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        every = NotificationOptions(
            prompts_changed=True, resources_changed=True, tools_changed=True
        )
        return super().create_initialization_options(
            notification_options or every, experimental_capabilities, extensions
        )


def _call(ctx: Context, params: types.CallToolRequestParams | types.GetPromptRequestParams) -> Call:
    return Call(
        ctx=ctx,
        arguments=dict(params.arguments or {}),
        responses=params.input_responses or {},
        state=params.request_state,
    )


def _result(outcome: Outcome) -> types.CallToolResult | types.InputRequiredResult:
    if isinstance(outcome, str):
        return types.CallToolResult(content=[text(outcome)])
    if isinstance(outcome, list):
        return types.CallToolResult(content=outcome)
    return outcome


class Everything:
    """The state of one reference server: its lists, which its own tools change."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._tools = {each.name: each for each in (*CONTENT_TOOLS, *ASKING_TOOLS)}
        for each in self._triggers():
            self._tools[each.name] = each
        self._prompts = {prompt.name: (prompt, run) for prompt, run in PROMPTS}
        self._dynamic_tool = False
        self._dynamic_prompt = False

    def server(self) -> Server:
        server = _LowLevelServer(
            NAME,
            version=VERSION,
            title="Reference server",
            instructions="Made for tests.",
            cache_hints={
                "tools/list": LIST_HINT,
                "prompts/list": LIST_HINT,
                "resources/list": LIST_HINT,
                "resources/templates/list": LIST_HINT,
                "resources/read": READ_HINT,
            },
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_subscriptions_listen=ListenHandler(self._bus),
            on_completion=self._complete,
            on_set_logging_level=self._set_logging_level,
        )
        security = RequestStateSecurity(keys=[REQUEST_STATE_KEY])
        server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
        return server

    # Tools

    def _triggers(self) -> tuple[Tool, ...]:
        return (
            tool("test_trigger_tool_change", "Adds or removes a tool", self._trigger_tools),
            tool("test_trigger_prompt_change", "Adds or removes a prompt", self._trigger_prompts),
            tool("test_trigger_resource_update", "Updates a resource", self._trigger_resource),
        )

    async def _trigger_tools(self, call: Call) -> Outcome:
        self._dynamic_tool = not self._dynamic_tool
        await self._bus.publish(ToolsListChanged())
        await call.ctx.session.send_tool_list_changed()
        return "tool list changed"

    async def _trigger_prompts(self, call: Call) -> Outcome:
        self._dynamic_prompt = not self._dynamic_prompt
        await self._bus.publish(PromptsListChanged())
        await call.ctx.session.send_prompt_list_changed()
        return "prompt list changed"

    async def _trigger_resource(self, call: Call) -> Outcome:
        await self._bus.publish(ResourceUpdated(uri=WATCHED))
        if WATCHED in call.connection.state.get("subscriptions", ()):
            await call.ctx.session.send_resource_updated(WATCHED)
        return "resource updated"

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        found = self._tools.get(name)
        return None if found is None else found.input_schema

    async def _list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        tools = [each.listed() for each in self._tools.values()]
        if self._dynamic_tool:
            tools.append(tools[0].model_copy(update={"name": "test_dynamic_tool"}))
        return types.ListToolsResult(tools=tools)

    async def _call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        dynamic = params.name == "test_dynamic_tool" and self._dynamic_tool
        found = self._tools.get("test_simple_text" if dynamic else params.name)
        if found is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}")
        return _result(await found.run(_call(ctx, params)))

    # Prompts and completions

    async def _list_prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        prompts = [prompt for prompt, _ in self._prompts.values()]
        if self._dynamic_prompt:
            prompts.append(types.Prompt(name="test_dynamic_prompt", description="Comes and goes"))
        return types.ListPromptsResult(prompts=prompts)

    async def _get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        found = self._prompts.get(params.name)
        if found is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {params.name}")
        return await found[1](_call(ctx, params))

    async def _complete(
        self, ctx: Context, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        return types.CompleteResult(completion=complete(params))

    # Resources

    async def _list_resources(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=list(RESOURCES))

    async def _list_templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=list(TEMPLATES))

    async def _read_resource(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        modern = Call(ctx, {}, {}, None).modern
        return types.ReadResourceResult(contents=[read(str(params.uri), modern=modern)])

    async def _subscribe(
        self, ctx: Context, params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        state = ctx.session._connection.state
        state.setdefault("subscriptions", set()).add(str(params.uri))
        return types.EmptyResult()

    async def _unsubscribe(
        self, ctx: Context, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        state = ctx.session._connection.state
        state.setdefault("subscriptions", set()).discard(str(params.uri))
        return types.EmptyResult()

    # Logging of the handshake era

    async def _set_logging_level(
        self, ctx: Context, params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        ctx.session._connection.state["log_level"] = params.level
        return types.EmptyResult()
