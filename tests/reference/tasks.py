"""Run the reference server of the tasks extension, with the fixtures of the conformance suite.

It is written with the official Python SDK, which leaves what the extension adds to its users, and
is independent of onemcp. Its command line is that of `everything.py`.

    python tasks.py --stdio
    python tasks.py --http PORT
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as types
from everything import main
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

EXTENSION = "io.modelcontextprotocol/tasks"
MISSING_CAPABILITY = -32021
TTL = 600_000
POLL = 50
ANYTHING = {"type": "object"}

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]


class TaskParams(types.RequestParams):
    """What every method of the extension takes."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskChanged(types.Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """What has become of a task, for those who have subscribed to it."""

    method: Literal["notifications/tasks"] = "notifications/tasks"


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class Task:
    """One task.

    Attributes:
        id: Its id.
        status: Where it stands.
        outcome: What else there is to say about it: its result, error or questions.
        answers: What was asked of the client, by key.
        asked: The keys that have ever been used.
        job: What works on it.
        hearers: Who has subscribed to it.
    """

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "working"
    outcome: Result = field(default_factory=dict)
    answers: dict[str, asyncio.Future[Result]] = field(default_factory=dict)
    asked: int = 0
    job: asyncio.Task[None] | None = None
    hearers: set[asyncio.Queue[Result]] = field(default_factory=set)
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)

    def move(self, status: str, **outcome: Any) -> None:
        """Go on to another status, unless the last one is reached."""
        if self.status in {"working", "input_required"}:
            self.status, self.outcome, self.updated = status, outcome, now()
            for hearer in self.hearers:
                hearer.put_nowait({**self.described(), **outcome})

    def described(self) -> Result:
        """Describe it as the extension says."""
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": TTL,
            "pollIntervalMs": POLL,
        }

    async def ask(self, **questions: str) -> dict[str, Result]:
        """Ask the client, and wait for all answers."""
        requests = {}
        futures = {}
        for name, message in questions.items():
            self.asked += 1
            key = f"q{self.asked}"
            requests[key] = elicitation(message)
            futures[name] = self.answers[key] = asyncio.get_running_loop().create_future()
        self.move("input_required", inputRequests=requests)
        return {name: await future for name, future in futures.items()}

    def answer(self, responses: dict[str, Result]) -> None:
        """Take answers; those to questions that are not open are ignored."""
        for key in responses.keys() & self.answers.keys():
            self.answers.pop(key).set_result(responses[key])
        if self.status == "input_required":
            pending = self.outcome["inputRequests"]
            left = {key: pending[key] for key in pending if key in self.answers}
            self.move(
                *(["input_required"] if left else ["working"]),
                **({"inputRequests": left} if left else {}),
            )


Job = Callable[[Task, dict[str, Any]], Awaitable[Result]]


def elicitation(message: str) -> Result:
    schema = {"type": "object", "properties": {"confirm": {"type": "boolean"}}}
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def said(text: str, **more: Any) -> Result:
    return {"content": [{"type": "text", "text": text}], **more}


def finished(result: Result) -> types.CallToolResult:
    """Return the result of a call that has made no task."""
    return types.CallToolResult.model_validate(result)


async def slow_compute(task: Task, arguments: dict[str, Any]) -> Result:
    await asyncio.sleep(arguments.get("seconds", 0))
    return said(f"computed {arguments.get('label')}")


async def failing_job(task: Task, arguments: dict[str, Any]) -> Result:
    return said("the job failed", isError=True)


async def protocol_error_job(task: Task, arguments: dict[str, Any]) -> Result:
    raise MCPError(code=types.INTERNAL_ERROR, message="the job broke")


async def confirm_delete(task: Task, arguments: dict[str, Any]) -> Result:
    answers = await task.ask(confirm=f"Delete {arguments.get('filename')}?")
    return said(f"{answers['confirm']['action']}: {arguments.get('filename')}")


async def multi_input(task: Task, arguments: dict[str, Any]) -> Result:
    answers = await task.ask(first="First?", second="Second?")
    return said(", ".join(each["action"] for each in answers.values()))


async def after_asking(task: Task, arguments: dict[str, Any]) -> Result:
    return said(f"Hello, {arguments['user_name']}!")


JOBS: dict[str, Job] = {
    "slow_compute": slow_compute,
    "failing_job": failing_job,
    "protocol_error_job": protocol_error_job,
    "confirm_delete": confirm_delete,
    "multi_input": multi_input,
}
REQUIRED = {"failing_job", "confirm_delete", "multi_input", "test_tool_with_task"}
NAMES = ("greet", *JOBS, "test_tool_with_task")


class TaskServer:
    """The state of one server: its tasks."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def server(self) -> Server:
        server = Server(
            "onemcp-tasks-server",
            version="1.0.0",
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self._listen,
        )
        server.extensions[EXTENSION] = {}
        for method, handler in (
            ("tasks/get", self._get),
            ("tasks/update", self._update),
            ("tasks/cancel", self._cancel),
        ):
            server.add_request_handler(method, TaskParams, handler)
        return server

    async def _list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        tools = [types.Tool(name=name, input_schema=ANYTHING) for name in NAMES]
        return types.ListToolsResult(tools=tools)

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Any:
        arguments = dict(params.arguments or {})
        if params.name == "greet":
            return finished(said(f"Hello, {arguments.get('name')}!"))
        declared = declares(ctx)
        if params.name in REQUIRED and not declared:
            raise missing_capability()
        if params.name == "test_tool_with_task":
            answer = (params.input_responses or {}).get("user_name")
            if answer is None:
                requests = {"user_name": elicitation("Who are you?")}
                return {"resultType": "input_required", "inputRequests": requests}
            name = (answer.content or {}).get("name")
            return self._create(after_asking, {"user_name": name})
        job = JOBS.get(params.name)
        if job is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}")
        if not declared:
            return finished(await job(Task(), {**arguments, "seconds": 0}))
        return self._create(job, arguments)

    def _create(self, job: Job, arguments: dict[str, Any]) -> Result:
        task = Task()
        self._tasks[task.id] = task
        task.job = asyncio.create_task(self._work(task, job, arguments))
        return {"resultType": "task", **task.described()}

    async def _work(self, task: Task, job: Job, arguments: dict[str, Any]) -> None:
        try:
            result = await job(task, arguments)
        except MCPError as error:
            failed = {"code": error.error.code, "message": error.error.message}
            task.move("failed", error=failed)
        else:
            task.move("completed", result=result)

    def _find(self, ctx: Context, params: TaskParams) -> Task:
        if not declares(ctx):
            raise missing_capability()
        task = self._tasks.get(params.task_id)
        if task is None:
            raise MCPError(code=types.INVALID_PARAMS, message="Task not found")
        return task

    async def _get(self, ctx: Context, params: TaskParams) -> Result:
        task = self._find(ctx, params)
        return {**task.described(), **task.outcome}

    async def _update(self, ctx: Context, params: TaskParams) -> Result:
        self._find(ctx, params).answer(params.input_responses or {})
        return {}

    async def _cancel(self, ctx: Context, params: TaskParams) -> Result:
        task = self._find(ctx, params)
        task.move("cancelled")
        if task.job is not None:
            task.job.cancel()
        return {}

    async def _listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        wanted = (params.notifications.model_extra or {}).get("taskIds", [])
        if wanted and not declares(ctx):
            raise missing_capability()
        known = [task_id for task_id in wanted if task_id in self._tasks]
        heard: asyncio.Queue[Result] = asyncio.Queue()
        meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        granted = types.SubscriptionFilter.model_validate({"taskIds": known})
        acknowledged = types.SubscriptionsAcknowledgedNotificationParams(
            notifications=granted, _meta=meta
        )
        for task_id in known:
            self._tasks[task_id].hearers.add(heard)
        try:
            await ctx.session.send_notification(
                types.SubscriptionsAcknowledgedNotification(params=acknowledged),
                related_request_id=ctx.request_id,
            )
            while True:
                changed = TaskChanged(params={**await heard.get(), "_meta": meta})
                await ctx.session.send_notification(
                    changed,  # type: ignore[arg-type]
                    related_request_id=ctx.request_id,
                )
        finally:
            for task_id in known:
                self._tasks[task_id].hearers.discard(heard)


def declares(ctx: Context) -> bool:
    able = ctx.session.client_capabilities
    return able is not None and EXTENSION in (able.extensions or {})


def missing_capability() -> MCPError:
    return MCPError(
        code=MISSING_CAPABILITY,
        message="this takes the tasks extension",
        data={"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
    )


if __name__ == "__main__":
    main(TaskServer().server)
