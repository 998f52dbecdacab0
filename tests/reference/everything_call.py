"""One call of a fixture, and how it asks the client something in either era.

The handshake era lets a server send requests while a call runs; revision 2026-07-28 has it
return them with the result instead, and wait for the call to be made again with the answers.
`Call.ask` hides the difference, so that one tool serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mcp.server.connection import Connection

Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Answer = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult
Answers = dict[str, Answer]

ANSWER_TYPES: dict[type[Question], type[Answer]] = {
    types.ElicitRequest: types.ElicitResult,
    types.CreateMessageRequest: types.CreateMessageResult,
    types.ListRootsRequest: types.ListRootsResult,
}
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
EMPTY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Call:
    """A request for a tool or a prompt, with what the client sent along.

    Attributes:
        ctx: The SDK's context of the request.
        arguments: The arguments, empty when the client sent none.
        responses: The answers of this round, empty outside of a multi-round-trip request.
        state: The request state that an earlier round handed out.
    """

    ctx: ServerRequestContext[Any, Any]
    arguments: dict[str, Any]
    responses: Mapping[str, Any]
    state: str | None

    @property
    def modern(self) -> bool:
        return self.ctx.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def capabilities(self) -> types.ClientCapabilities:
        return self.ctx.session.client_capabilities or types.ClientCapabilities()

    @property
    def connection(self) -> Connection:
        return self.ctx.session._connection

    def answers(self, questions: Mapping[str, Question]) -> Answers | None:
        """Return this round's answers, None unless each question has one of its kind."""
        given = {key: self.responses.get(key) for key in questions}
        if all(isinstance(given[key], ANSWER_TYPES[type(q)]) for key, q in questions.items()):
            return given
        return None

    async def ask(
        self, questions: Mapping[str, Question], *, state: str | None = None
    ) -> Answers | types.InputRequiredResult:
        """Ask the client, and return its answers or the result that carries the questions."""
        if not self.modern:
            return await self._send_all(questions)
        self._require(questions.values())
        answers = self.answers(questions)
        if answers is not None and state in {None, self.state}:
            return answers
        return types.InputRequiredResult(input_requests=dict(questions), request_state=state)

    async def log(self, text: str) -> None:
        """Send a log message at info, if the client wants to hear of that."""
        wanted = self.connection.state.get("log_level", "debug")
        if LEVELS.index("info") < LEVELS.index(wanted):
            return
        await self.ctx.session.send_log_message(
            level="info", data=text, logger="everything", related_request_id=self.ctx.request_id
        )

    async def _send_all(self, questions: Mapping[str, Question]) -> Answers:
        """Ask everything at once, as the other era does; what is refused has no answer."""
        answers: Answers = {}
        refusals: list[MCPError] = []

        async def send(key: str, question: Question) -> None:
            try:
                answers[key] = await self._send(question)
            except MCPError as error:
                refusals.append(error)

        async with anyio.create_task_group() as group:
            for key, question in questions.items():
                group.start_soon(send, key, question)
        if refusals and not answers:
            raise refusals[0]
        return {key: answers[key] for key in questions if key in answers}

    async def _send(self, question: Question) -> Answer:
        # Without a related request id it would travel on the standalone stream, which the
        # client may not have opened yet.
        return await self.ctx.session.send_request(
            question,
            ANSWER_TYPES[type(question)],
            metadata=ServerMessageMetadata(related_request_id=self.ctx.request_id),
        )

    def _require(self, questions: Iterable[Question]) -> None:
        needed: dict[str, Any] = {}
        for question in questions:
            if isinstance(question, types.ElicitRequest) and self.capabilities.elicitation is None:
                needed["elicitation"] = {}
            if (
                isinstance(question, types.CreateMessageRequest)
                and self.capabilities.sampling is None
            ):
                needed["sampling"] = {}
            if isinstance(question, types.ListRootsRequest) and self.capabilities.roots is None:
                needed["roots"] = {}
        if needed:
            raise missing_capability(needed)


Outcome = str | list[types.ContentBlock] | types.CallToolResult | types.InputRequiredResult


@dataclass(frozen=True)
class Tool:
    """A tool of the reference server.

    Attributes:
        name: The name that the conformance suite calls it by.
        description: What it shows.
        run: What it does.
        input_schema: The schema of its arguments, listed as it is.
        output_schema: The schema of its structured content, if it has any.
    """

    name: str
    description: str
    run: Callable[[Call], Awaitable[Outcome]]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None

    def listed(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
        )


def tool(
    name: str,
    description: str,
    run: Callable[[Call], Awaitable[Outcome]],
    *,
    schema: dict[str, Any] = EMPTY_SCHEMA,
    output: dict[str, Any] | None = None,
) -> Tool:
    return Tool(name, description, run, schema, output)


def missing_capability(required: dict[str, Any]) -> MCPError:
    return MCPError(
        code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        message=f"This needs client capabilities that were not declared: {', '.join(required)}",
        data={"requiredCapabilities": required},
    )


def text(value: str) -> types.TextContent:
    return types.TextContent(type="text", text=value)


def strings(*names: str) -> dict[str, Any]:
    """Return the schema of an object whose properties are all required strings."""
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": list(names),
    }


def form(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def sample(prompt: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(
            messages=[types.SamplingMessage(role="user", content=text(prompt))],
            max_tokens=max_tokens,
        )
    )


def content_of(answer: Answer) -> dict[str, Any]:
    """Return what the user filled in, empty unless the form was accepted."""
    if isinstance(answer, types.ElicitResult) and answer.action == "accept":
        return dict(answer.content or {})
    return {}
