"""MCP as the command line speaks it: requests of the newest revision to a running onemcp."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final, TypeAlias

import attrs
import httpx

from onemcp.cli import forms
from onemcp.cli.failures import Failure
from onemcp.cli.instance import Instance
from onemcp.protocol import headers as mcp_headers
from onemcp.protocol import meta
from onemcp.protocol.errors import InteractionNotPossible, MissingClientCapability
from onemcp.protocol.methods import NAMED
from onemcp.protocol.questions import INPUT_RESPONSES, REQUEST_STATE
from onemcp.protocol.revisions import LATEST_MODERN

Answer: TypeAlias = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]

PATH: Final = "/mcp"
MOST_PAGES: Final = 1000
ACCEPT: Final = "application/json, text/event-stream"
MOST_ROUNDS: Final = 100
"""How often a server may ask something in the course of one request."""

PAUSE: Final = 1.0
"""How long to wait before a request is sent again that nothing was asked for, in seconds."""

UNASKABLE: Final = (
    "The server asks its client for what a shell doesn't have, such as a model: use another client."
)
_UNASKED: Final = frozenset({MissingClientCapability.code, InteractionNotPossible.code})


class Refused(Failure):
    """A request was answered with an error.

    Attributes:
        error: The error, as JSON-RPC has it.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        """Tell what the answer says."""
        said, code = error.get("message", "no message"), error.get("code")
        hint = f". {UNASKABLE}" if code in _UNASKED else ""
        super().__init__(f"{said} ({code}){hint}")
        self.error = error


@attrs.define
class Asker:
    """Asks one endpoint.

    Attributes:
        instance: Where.
        view: The named view, or the server, to ask; None for everything.
        answer: Answers what servers ask in the course of a request: is given who asks, the method
            and the parameters, and returns the result.
    """

    instance: Instance
    view: str | None = None
    answer: Answer = forms.answer
    _ids: count[int] = attrs.field(init=False, factory=lambda: count(1))

    def ask(
        self, method: str, params: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """Send a request, and return the result.

        What is asked meanwhile is answered, and the request sent again with that (2026-07-28,
        Multi Round-Trip Requests).

        Args:
            method: The method.
            params: Its parameters, without ``_meta``.
            more: More headers.

        Raises:
            Refused: The answer is an error.
            Failure: There is no answer, or one that can't be used.
        """
        given: dict[str, Any] = {}
        for _ in range(MOST_ROUNDS):
            result = self._send(method, {**params, **given}, more)
            if result.get("resultType") != "input_required":
                return result
            given = self._answers(result, str(params.get("name") or params.get("uri") or "It"))
        raise Failure(f"it has asked {MOST_ROUNDS} times, and asks again")

    def _answers(self, result: Mapping[str, Any], asker: str) -> dict[str, Any]:
        """Answer all questions; return what the next request is to have besides its parameters."""
        given: dict[str, Any] = {}
        asked = result.get("inputRequests")
        if isinstance(asked, dict) and asked:
            given[INPUT_RESPONSES] = {
                key: self.answer(asker, str(each.get("method")), each.get("params") or {})
                for key, each in asked.items()
            }
        else:
            time.sleep(PAUSE)
        if REQUEST_STATE in result:
            given[REQUEST_STATE] = result[REQUEST_STATE]
        return given

    def _send(
        self, method: str, params: Mapping[str, Any], more: Sequence[tuple[str, str]]
    ) -> dict[str, Any]:
        number = next(self._ids)
        members = {
            meta.PROTOCOL_VERSION: LATEST_MODERN,
            meta.CLIENT_CAPABILITIES: forms.CAPABILITIES,
        }
        message = {
            "jsonrpc": "2.0",
            "id": number,
            "method": method,
            "params": {**params, meta.META: members},
        }
        headers = {
            "content-type": "application/json",
            "accept": ACCEPT,
            "mcp-protocol-version": LATEST_MODERN,
            "mcp-method": method,
            **dict(more),
        }
        if method in NAMED:
            headers["mcp-name"] = mcp_headers.encode_value(str(params[NAMED[method]]))
        path = PATH if self.view is None else f"{PATH}/{self.view}"
        return _result(self.instance.post(path, json.dumps(message).encode(), headers), number)

    def list(self, method: str, key: str) -> list[dict[str, Any]]:
        """Return a whole list.

        Args:
            method: The method that lists.
            key: The member of its results that holds the list.

        Raises:
            Failure: As for `ask`.
        """
        items: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            result = self.ask(method, params)
            items += result.get(key, [])
            if "nextCursor" not in result:
                return items
            params = {"cursor": result["nextCursor"]}
        raise Failure(f"{method} has more than {MOST_PAGES} pages")

    def call(self, tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool that was listed.

        Raises:
            Failure: As for `ask`.
        """
        mirrored = mcp_headers.mirrored_parameters(tool.get("inputSchema"))
        params = {"name": tool["name"], "arguments": arguments}
        return self.ask("tools/call", params, mcp_headers.parameter_headers(mirrored, arguments))


def _result(answer: httpx.Response, number: int) -> dict[str, Any]:
    message = _message(answer, number)
    if "error" in message:
        raise Refused(message["error"])
    result = message.get("result")
    if not isinstance(result, dict):
        raise Failure(f"onemcp answered with status {answer.status_code}, and no result")
    return result


def _message(answer: httpx.Response, number: int) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "")
    texts = [answer.text]
    if kind.startswith("text/event-stream"):
        lines = answer.text.splitlines()
        texts = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    for text in texts:
        try:
            message = json.loads(text)
        except ValueError:
            continue
        if not isinstance(message, dict) or message.get("id") not in {number, None}:
            continue
        if "error" in message or "result" in message:
            return message
    raise Failure(f"onemcp answered with status {answer.status_code}, and no message")
