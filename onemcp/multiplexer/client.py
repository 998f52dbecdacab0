"""A client that is no program of its own: it calls a view itself."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from onemcp.backend import Caller
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.fields import plain, raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response

from .answering import BROKEN, Answers
from .reply import Reply
from .view import View

Hear: TypeAlias = Callable[[str, Mapping[str, Any]], object]
"""Takes the method and the parameters of a notification."""

REVISION: Final = "2025-11-25"
"""What the program speaks: of this revision, questions come in the course of a call."""


class McpError(Exception):
    """A request was answered with an error.

    Attributes:
        code: Its code (docs/reference/errors.md).
        message: What it says.
        data: What it carries, or None.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        """Say what was answered."""
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class Client:
    """Sends requests, and answers what backends ask in the course of them.

    Every method is safe to cancel; a cancelled call is cancelled at its backend too.
    """

    def __init__(self, view: Callable[[], View], principal: str, answers: Answers) -> None:
        """Be a client of an endpoint.

        Args:
            view: Returns what the client sees just now.
            principal: Who calls.
            answers: What backends may ask, and what answers.
        """
        self._view = view
        self._answers = answers
        self._ids = itertools.count(1)
        self._caller = Caller(
            owner=(principal, secrets.token_hex(8)),
            principal=principal,
            revision=REVISION,
            capabilities=raw(dict(answers.capabilities)),
        )

    async def list_tools(self) -> list[dict[str, Any]]:
        """Return the tools of all backends that are up, under the names that clients see."""
        return await self._listed("tools/list", "tools")

    async def list_resources(self) -> list[dict[str, Any]]:
        """Return the resources of all backends that are up."""
        return await self._listed("resources/list", "resources")

    async def list_prompts(self) -> list[dict[str, Any]]:
        """Return the prompts of all backends that are up."""
        return await self._listed("prompts/list", "prompts")

    async def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, hear: Hear | None = None
    ) -> dict[str, Any]:
        """Call a tool.

        Args:
            name: Its name, as clients see it.
            arguments: What it is called with.
            hear: Takes the progress and the log messages of this call.

        Returns:
            The result as the backend gave it. That a tool has failed is a result too: ``isError``.

        Raises:
            McpError: There is no such tool, or its backend could not be reached or did not answer.
        """
        params = {"name": name, "arguments": dict(arguments or {})}
        return await self.request("tools/call", params, hear=hear)

    async def read_resource(self, uri: str) -> dict[str, Any]:
        """Read a resource.

        Raises:
            McpError: It can't be read.
        """
        return await self.request("resources/read", {"uri": uri})

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Get a prompt.

        Raises:
            McpError: It can't be had.
        """
        return await self.request("prompts/get", {"name": name, "arguments": dict(arguments or {})})

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        hear: Hear | None = None,
    ) -> dict[str, Any]:
        """Send any request of 2025-11-25.

        Args:
            method: Its method.
            params: Its parameters.
            hear: Takes the progress and the log messages of this request.

        Raises:
            McpError: It was answered with an error.
        """
        request_id = next(self._ids)
        content = dict(params or {})
        if hear is not None:
            content["_meta"] = {"progressToken": request_id, **content.get("_meta", {})}
        caller = self._caller if hear is None else attrs.evolve(self._caller, log_level="debug")
        try:
            reply = await self._view().dispatch(Request(request_id, method, raw(content)), caller)
        except ProtocolError as error:
            raise _error(error.error) from None
        try:
            return await self._result(reply, hear)
        finally:
            reply.close()

    async def _result(self, reply: Reply, hear: Hear | None) -> dict[str, Any]:
        while True:
            match await reply.receive():
                case Response(result=result):
                    return _object(result)
                case Failure(error=error):
                    raise _error(error)
                case Notification(method=method, params=params):
                    if hear is not None:
                        hear(method, _object(params))
                case Request() as question:
                    await self._answer(reply, question)

    async def _answer(self, reply: Reply, question: Request) -> None:
        try:
            answer = await self._answers.to(question)
        except BaseException:
            reply.answer(Failure(question.id, BROKEN.error))
            raise
        reply.answer(answer)

    async def _listed(self, method: str, member: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        while True:
            page = await self.request(method, params)
            found += page[member]
            if "nextCursor" not in page:
                return found
            params = {"cursor": page["nextCursor"]}


def _object(value: Any) -> dict[str, Any]:
    content = plain(value)
    return content if isinstance(content, dict) else {}


def _error(value: Any) -> McpError:
    error = _object(value)
    return McpError(int(error["code"]), str(error["message"]), error.get("data"))
