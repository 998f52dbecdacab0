"""The Python SDK 2.x, which speaks both eras; see jobs.py for what it is told to do.

It runs on asyncio, as programs that use it do.
"""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import mcp_types as types
from anyio import to_thread
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Json = dict[str, Any]

LOG_LEVEL = "io.modelcontextprotocol/logLevel"
TURNS = 10
"""How often the other tasks get a turn before what they have heard counts."""
MODERN = "2026-07-28"
LISTS = {
    "tools": ("list_tools", "tools"),
    "prompts": ("list_prompts", "prompts"),
    "resources": ("list_resources", "resources"),
    "templates": ("list_resource_templates", "resource_templates"),
}
CHANGED = {
    "tools": types.ToolListChangedNotification,
    "prompts": types.PromptListChangedNotification,
    "resources": types.ResourceListChangedNotification,
}


def dumped(value: Any) -> Any:
    """Return a model of the SDK as it is written on the wire."""
    if isinstance(value, list):
        return [dumped(item) for item in value]
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def emit(message: Json) -> None:
    print(json.dumps(message), flush=True)


class Connection:
    """One connection: the SDK's client, with everything that it hears along the way."""

    def __init__(self, job: Json) -> None:
        self.job = job
        self.logs: list[Any] = []
        self.asked: list[Any] = []
        self.heard: list[tuple[str, str | None]] = []
        self._news = anyio.Event()
        self.client: Any = None

    # --- callbacks ---------------------------------------------------------------------------

    async def on_elicit(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append({"method": "elicitation/create", "message": params.message})
        # The form as it is, with its defaults, or with a name where it has none.
        fields = (getattr(params, "requested_schema", None) or {}).get("properties", {})
        defaults = {name: each["default"] for name, each in fields.items() if "default" in each}
        return types.ElicitResult(action="accept", content=defaults or {"name": "Ada"})

    async def on_sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        message = params.messages[0].content.text
        self.asked.append({"method": "sampling/createMessage", "message": message})
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="made-up")

    async def on_roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append({"method": "roots/list"})
        return types.ListRootsResult(roots=[types.Root(**root) for root in self.job["roots"]])

    async def on_log(self, params: Any) -> None:
        self.logs.append(dumped(params))

    async def on_message(self, message: Any) -> None:
        if isinstance(message, (*CHANGED.values(), types.ResourceUpdatedNotification)):
            self._hear(message.method, getattr(message.params, "uri", None))

    def _hear(self, method: str, uri: str | None = None) -> None:
        self.heard.append((method, uri))
        self._news.set()
        self._news = anyio.Event()

    # --- steps -------------------------------------------------------------------------------

    async def about(self, step: Json) -> Json:
        info = self.client.server_info
        return {
            "revision": self.client.protocol_version,
            "server": None if info is None else dumped(info),
            "capabilities": dumped(self.client.server_capabilities),
            "instructions": self.client.instructions,
        }

    async def list(self, step: Json) -> list[Any]:
        method, key = LISTS[step["kind"]]
        items: list[Any] = []
        cursor = None
        while True:
            page = await getattr(self.client, method)(cursor=cursor, cache_mode="refresh")
            items.extend(dumped(getattr(page, key)))
            cursor = page.next_cursor
            if cursor is None:
                return items

    async def call(self, step: Json) -> Json:
        progress: list[Json] = []

        async def note(done: float, total: float | None, message: str | None) -> None:
            told = {"progress": done, "total": total, "message": message}
            progress.append({key: value for key, value in told.items() if value is not None})

        logs, asked = len(self.logs), len(self.asked)
        meta = None if "level" not in step else {LOG_LEVEL: step["level"]}
        result = await self.client.call_tool(
            step["name"], step.get("arguments", {}), progress_callback=note, meta=meta
        )
        # The callbacks for what came before the result have tasks of their own.
        for _ in range(TURNS):
            await anyio.lowlevel.checkpoint()
        return {
            "result": dumped(result),
            "progress": progress,
            "logs": self.logs[logs:],
            "asked": self.asked[asked:],
        }

    async def read(self, step: Json) -> Json:
        return dumped(await self.client.read_resource(step["uri"], cache_mode="refresh"))

    async def prompt(self, step: Json) -> Json:
        asked = len(self.asked)
        result = await self.client.get_prompt(step["name"], step.get("arguments", {}))
        return {"result": dumped(result), "asked": self.asked[asked:]}

    async def complete(self, step: Json) -> Json:
        kind = {
            "ref/prompt": types.PromptReference,
            "ref/resource": types.ResourceTemplateReference,
        }
        reference = kind[step["ref"]["type"]](**step["ref"])
        context = step.get("context", {}).get("arguments")
        return dumped(await self.client.complete(reference, step["argument"], context))

    async def level(self, step: Json) -> Json:
        await self.client.set_logging_level(step["level"])
        return {}

    async def cancel(self, step: Json) -> Json:
        """Call a tool and cancel the call at its first sign of life."""
        with anyio.CancelScope() as scope:

            async def note(*_: Any) -> None:
                scope.cancel()

            await self.client.call_tool(
                step["name"], step.get("arguments", {}), progress_callback=note
            )
        return {"cancelled": scope.cancelled_caught}

    async def change(self, step: Json) -> Json:
        """Wait for a list to change, or a resource; make a call that has this effect, if given."""
        kind, uri = step.get("kind"), step.get("uri")
        method = "notifications/resources/updated" if uri else f"notifications/{kind}/list_changed"
        mark = len(self.heard)
        async with self._subscribed(kind, uri):
            emit({"id": self.job["id"], "ready": True})
            if "call" in step:
                await self.call(step["call"])
            await self._hears((method, uri), mark)
            # Several backends may change, one after the other: wait for the one that is meant.
            while True:
                mark = len(self.heard)
                if await self._is_as_wanted(step):
                    break
                await self._hears((method, uri), mark)
        return {"method": method, "uri": uri}

    async def _is_as_wanted(self, step: Json) -> bool:
        if "contains" not in step and "lacks" not in step:
            return True
        names = [item["name"] for item in await self.list(step)]
        return step["contains"] in names if "contains" in step else step["lacks"] not in names

    async def _hears(self, wanted: tuple[str, str | None], mark: int) -> None:
        while wanted not in self.heard[mark:]:
            await self._news.wait()

    @asynccontextmanager
    async def _subscribed(self, kind: str | None, uri: str | None) -> AsyncIterator[None]:
        if self.client.protocol_version == MODERN:
            wanted: Any = (
                {"resource_subscriptions": [uri]} if uri else {f"{kind}_list_changed": True}
            )
            async with self.client.listen(**wanted) as subscription, anyio.create_task_group() as g:
                g.start_soon(self._follow, subscription)
                yield
                g.cancel_scope.cancel()
        elif uri:
            await self.client.subscribe_resource(uri)
            yield
            await self.client.unsubscribe_resource(uri)
        else:
            yield

    async def _follow(self, subscription: Any) -> None:
        async for event in subscription:
            uri = getattr(event, "uri", None)
            kind = type(event).__name__.removesuffix("ListChanged").lower()
            self._hear(
                "notifications/resources/updated" if uri else f"notifications/{kind}/list_changed",
                uri,
            )


async def connect(job: Json, stack: AsyncExitStack) -> Connection:
    connection = Connection(job)
    target = job["target"]
    if "url" in target:
        http = await stack.enter_async_context(create_mcp_http_client(target.get("headers")))
        transport = streamable_http_client(target["url"], http_client=http)
    else:
        command, *arguments = target["command"]
        quiet = stack.enter_context(open("/dev/null", "w"))  # noqa: ASYNC230, PTH123, SIM115 - no wait
        parameters = StdioServerParameters(command=command, args=arguments, env=target.get("env"))
        transport = stdio_client(parameters, errlog=quiet)
    client = Client(
        transport,
        mode=job["mode"],
        cache=None,
        elicitation_callback=connection.on_elicit,
        sampling_callback=connection.on_sample,
        list_roots_callback=connection.on_roots,
        logging_callback=connection.on_log,
        message_handler=connection.on_message,
    )
    connection.client = await stack.enter_async_context(client)
    return connection


async def run(job: Json) -> list[Json]:
    outcomes: list[Json] = []
    async with AsyncExitStack() as stack:
        connection = await connect(job, stack)
        for step in job["steps"]:
            try:
                # A step that never ends must not hold up the jobs after it.
                with anyio.fail_after(job["patience"]):
                    outcomes.append({"ok": await getattr(connection, step["op"])(step)})
            except MCPError as error:
                outcomes.append({"error": dumped(error.error)})
    return outcomes


async def main() -> None:
    while line := await to_thread.run_sync(sys.stdin.readline):
        job = json.loads(line)
        try:
            emit({"id": job["id"], "outcomes": await run(job)})
        except Exception as error:  # noqa: BLE001 - told to the test
            emit({"id": job["id"], "failure": repr(error)})


if __name__ == "__main__":
    # The tests are about the deprecated features as well.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    anyio.run(main)
