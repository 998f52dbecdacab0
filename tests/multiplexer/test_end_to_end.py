"""Real servers behind a multiplexer: every client era against every backend era, over stdio."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from msgspec import Raw

from onemcp import config
from onemcp.app.connecting import Connector
from onemcp.backend import Backend, Caller, ConnectionLost, Identity
from onemcp.backend.process import ProcessInstance
from onemcp.multiplexer import ALL_LISTS, Multiplexer, SelfDescription, View
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    ANSWERING,
    ask,
    ask_for_error,
    decoded,
    legacy,
    modern,
    receive_all,
    send,
)
from tests.support.npm import CHECKOUT

pytestmark = pytest.mark.interop

PROGRAM = str(CHECKOUT / "tests" / "reference" / "everything.py")
PATIENCE = 60
"""Seconds that a whole test may take."""
ANSWERS = {
    "elicitation/create": {"action": "accept", "content": {"name": "Ada", "color": "green"}},
    "sampling/createMessage": {
        "role": "assistant",
        "model": "none",
        "content": {"type": "text", "text": "Hello"},
    },
    "roots/list": {"roots": [{"uri": "file:///home/ada"}]},
}
CLIENTS = pytest.mark.parametrize("client", ["modern", "legacy"])
PREFIX = "test_input_required_result_"


def settings(name: str, protocol: Any) -> config.Backend:
    transport = config.StdioTransport(command=sys.executable, args=(PROGRAM, "--stdio"))
    return config.Backend(name=name, transport=transport, protocol=protocol)


@asynccontextmanager
async def both_eras() -> AsyncIterator[View]:
    """Run one backend of each era, `old` and `new`, and give the view of both."""
    identity = Identity(Raw(b'{"name":"onemcp","version":"1"}'))
    connector = Connector(ProcessInstance(), identity)
    multiplexer = Multiplexer(SelfDescription("onemcp", "1"))
    backends = [
        Backend(
            settings(name, protocol),
            connect=connector,
            observer=multiplexer,
            identity=identity,
            on_event=lambda _: None,
        )
        for name, protocol in (("old", LATEST_LEGACY), ("new", "auto"))
    ]
    multiplexer.replace(backends)

    async def serve(
        backend: Backend, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()
        while True:
            try:
                await backend.serve()
            except ConnectionLost:
                await trio.sleep(0.05)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for backend in backends:
                await nursery.start(serve, backend)
            for backend in backends:
                await backend.wait_ready()
            view = multiplexer.view()
            assert view is not None
            yield view
            assert multiplexer.in_flight == 0
            nursery.cancel_scope.cancel()


def caller_of(client: str, **more: Any) -> Caller:
    return modern(**more) if client == "modern" else legacy(**more)


def text_of(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


async def call(view: View, name: str, caller: Caller, **params: Any) -> list[Any]:
    """Call a tool as a client would, answering what is asked on the way."""
    reply = await send(view, "tools/call", {"name": name, **params}, caller)
    messages: list[Any] = []
    try:
        while not (messages and isinstance(messages[-1], Response | Failure)):
            messages.append(await reply.receive())
            if isinstance(messages[-1], Request):
                answer = raw(ANSWERS[messages[-1].method])
                assert reply.answer(Response(messages[-1].id, answer))
    finally:
        reply.close()
    return messages


@pytest.mark.requirement("basic/index#introduction-1", "basic/transports/index#messages-2")
@CLIENTS
async def test_lists_calls_and_errors_in_every_combination_of_eras(client: str):
    async with both_eras() as view:
        caller = caller_of(client)
        names = [item["name"] for item in (await ask(view, "tools/list", {}, caller))["tools"]]
        assert len(names) == len(set(names))
        for backend in ("old", "new"):
            assert f"{backend}__test_simple_text" in names
            (answer,) = await call(view, f"{backend}__test_simple_text", caller)
            result = decoded(answer.result)
            assert text_of(result) == "This is a simple text response for testing."
            assert ("resultType" in result) == (client == "modern")
            (answer,) = await call(view, f"{backend}__test_error_handling", caller)
            assert decoded(answer.result)["isError"] is True
            prompt = {"name": f"{backend}__test_simple_prompt"}
            assert (await ask(view, "prompts/get", prompt, caller))["messages"]
            ref = {"type": "ref/prompt", "name": f"{backend}__test_prompt_with_arguments"}
            params = {"ref": ref, "argument": {"name": "arg1", "value": "t"}}
            completion = (await ask(view, "completion/complete", params, caller))["completion"]
            assert isinstance(completion["values"], list)


@pytest.mark.requirement("server/resources#error-handling-1")
@CLIENTS
async def test_resources_are_read_or_not_found_in_the_clients_words(client: str):
    async with both_eras() as view:
        caller = caller_of(client)
        read = await ask(view, "resources/read", {"uri": "test://static-text"}, caller)
        assert read["contents"][0]["uri"] == "test://static-text"
        assert ("ttlMs" in read) == (client == "modern")
        missing = {"uri": "test://nowhere"}
        for each in (view, *map(view.multiplexer.view, ("old", "new"))):
            error = await error_of(each, missing, caller)
            assert error["code"] == (-32602 if client == "modern" else -32002)
            assert error["data"]["uri"] == "test://nowhere"


async def error_of(view: View | None, params: dict[str, Any], caller: Caller) -> dict[str, Any]:
    assert view is not None
    try:
        return await ask_for_error(view, "resources/read", params, caller)
    except ProtocolError as error:
        return decoded(error.error)


@pytest.mark.requirement("basic/transports/index#messages-2")
@CLIENTS
async def test_progress_and_log_messages_arrive_in_order_before_the_answer(client: str):
    async with both_eras() as view:
        caller = caller_of(client, log_level="info")
        for backend in ("old", "new"):
            meta = {"progressToken": f"{backend}-1"}
            *notes, _ = await call(view, f"{backend}__test_tool_with_progress", caller, _meta=meta)
            told = [decoded(note.params) for note in notes]
            assert [each["progress"] for each in told] == [0, 50, 100]
            assert {each["progressToken"] for each in told} == {f"{backend}-1"}
        *notes, _ = await call(view, "old__test_tool_with_logging", caller)
        assert [decoded(note.params)["data"] for note in notes] == [
            "Tool execution started",
            "Tool processing data",
            "Tool execution completed",
        ]
        quiet = caller_of(client)
        assert len(await call(view, "old__test_tool_with_logging", quiet)) == 1


async def test_a_legacy_client_answers_both_eras_in_the_same_way():
    expected = {
        "elicitation": "Hello, Ada!",
        "sampling": "Model said: Hello",
        "list_roots": "Client roots: file:///home/ada",
        "request_state": "state-ok: action=accept",
        "multiple_inputs": "Hello to Ada",
        "multi_round": "Ada likes green.",
        "tampered_state": "state-ok: sealed",
    }
    async with both_eras() as view:
        for backend in ("old", "new"):
            for name, text in expected.items():
                caller = legacy(capabilities=ANSWERING)
                *asked, answer = await call(view, f"{backend}__{PREFIX}{name}", caller)
                assert isinstance(answer, Response), decoded(answer.error)
                assert text_of(decoded(answer.result)).startswith(text)
                assert asked
                assert all(isinstance(each, Request) for each in asked)
        (failed,) = await call(view, f"new__{PREFIX}elicitation", legacy())
        assert isinstance(failed, Failure)


async def test_a_modern_client_does_the_rounds_itself_with_a_modern_backend():
    async with both_eras() as view:
        caller = modern(capabilities=ANSWERING)
        name = f"new__{PREFIX}request_state"
        (asked,) = await call(view, name, caller)
        result = decoded(asked.result)
        assert result["resultType"] == "input_required"
        (key,) = result["inputRequests"]
        answers = {key: {"action": "accept", "content": {"ok": True}}}
        (answer,) = await call(
            view, name, caller, requestState=result["requestState"], inputResponses=answers
        )
        assert text_of(decoded(answer.result)).startswith("state-ok")


@pytest.mark.requirement("server/tools#list-changed-notification-1")
async def test_a_changed_list_and_an_updated_resource_reach_those_who_subscribed():
    async with both_eras() as view:
        watched = "test://watched-resource"
        subscriber = await view.subscribe(ALL_LISTS)
        params = {"notifications": {"promptsListChanged": True, "resourceSubscriptions": [watched]}}
        listening = await send(view, "subscriptions/listen", params)
        acknowledged = decoded((await listening.receive()).params)
        assert acknowledged["notifications"] == params["notifications"]
        for backend in ("old", "new"):
            await call(view, f"{backend}__test_trigger_tool_change", modern())
            assert (await subscriber.receive()).method == "notifications/tools/list_changed"
            listed = (await ask(view, "tools/list"))["tools"]
            assert f"{backend}__test_dynamic_tool" in [item["name"] for item in listed]
        await call(view, "new__test_trigger_prompt_change", modern())
        note = await listening.receive()
        assert isinstance(note, Notification)
        assert note.method == "notifications/prompts/list_changed"
        # Both backends list the resource: it is that of the first.
        await call(view, "old__test_trigger_resource_update", modern())
        note = await listening.receive()
        assert isinstance(note, Notification)
        assert decoded(note.params)["uri"] == watched
        subscriber.close()
        listening.close()


@pytest.mark.requirement("basic/transports/stdio#cancellation-3")
async def test_a_call_that_is_dropped_is_cancelled_at_the_server():
    async with both_eras() as view:
        for backend in view.contents.backends:
            reply = await send(
                view, "tools/call", {"name": f"{backend.name}__test_reconnection"}, modern()
            )
            await trio.sleep(0.1)
            before = backend.in_flight
            reply.close()
            assert backend.in_flight == before - 1
            await receive_all(
                await send(view, "tools/call", {"name": f"{backend.name}__test_simple_text"})
            )
