"""Spans: one for the request of a client, one under it for each request to a backend."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from onemcp.backend import Caller
from onemcp.multiplexer import CallParked, CallResumed, RetryRefused, Watcher
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.telemetry import Span, Tracer
from tests.multiplexer.fakes import (
    ANSWERING,
    Server,
    World,
    ask,
    ask_for_error,
    decoded,
    failure,
    legacy,
    modern,
    nothing,
    receive_all,
    resource,
    result,
    send,
    tool,
)
from tests.multiplexer.parked import CALL as PARKED
from tests.multiplexer.parked import asked, bench, question, withdrawal
from tests.multiplexer.test_rounds import ELICIT, asking, script

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
SECRET = "hunter2-SEKRIT"


def params(traceparent: str | None = CONTEXT, **more: Any) -> dict[str, Any]:
    meta = {} if traceparent is None else {"traceparent": traceparent}
    found = {"name": "alpha__t", "arguments": {"a": SECRET}, **more}
    return found | {"_meta": {**meta, **more.get("_meta", {})}}


class Spans:
    """What a tracer hands over."""

    def __init__(self, world: World, ratio: float = 1.0) -> None:
        self.taken: list[Span] = []
        self.tracer = Tracer()
        self.tracer.take, self.tracer.ratio = self.taken.append, ratio
        world.multiplexer.watcher = Watcher(self.tracer)

    def of(self, kind: str) -> list[Span]:
        return [span for span in self.taken if span.kind == kind]

    @property
    def server(self) -> Span:
        [span] = self.of("server")
        return span

    @property
    def client(self) -> Span:
        [span] = self.of("client")
        return span


@pytest.fixture
def spans(world: World) -> Spans:
    return Spans(world)


@pytest.mark.parametrize("revision", [LATEST_MODERN, LATEST_LEGACY])
@pytest.mark.parametrize("caller", [modern, legacy])
async def test_a_call_is_a_span_of_the_client_s_and_that_of_the_backend_one_of_it(
    world, spans, caller, revision
):
    server = Server(revision=revision, tools=[tool("t")])
    view = await world.show(server)
    sent = params(_meta={"tracestate": "a=1", "baggage": "b=2"})
    await ask(view, "tools/call", sent, caller(session="5e55"))
    outer, inner = spans.server, spans.client
    assert (outer.context.trace_id, outer.parent_id) == (TRACE, PARENT)
    assert (inner.context.trace_id, inner.parent_id) == (TRACE, outer.context.span_id)
    assert len({PARENT, outer.context.span_id, inner.context.span_id}) == 3
    got = server.sent[-1]["_meta"]
    assert got["traceparent"] == f"00-{TRACE}-{inner.context.span_id}-01"
    assert (got["tracestate"], got["baggage"]) == ("a=1", "b=2")
    assert inner.context.state == outer.context.state == "a=1"
    assert outer.seconds is not None
    assert inner.seconds is not None
    assert 0 <= inner.seconds <= outer.seconds


async def test_spans_have_the_names_and_attributes_of_the_conventions(world, spans):
    view = await world.show(Server(tools=[tool("t")]))
    await ask(view, "tools/call", params(), legacy(session="5e55"))
    outer, inner = spans.server, spans.client
    assert (outer.name, inner.name) == ("tools/call alpha__t", "tools/call t")
    assert outer.attributes == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "alpha__t",
        "jsonrpc.request.id": "7",
        "mcp.protocol.version": LATEST_LEGACY,
        "mcp.session.id": "5e55",
    }
    assert inner.attributes == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "t",
        "mcp.protocol.version": LATEST_MODERN,
        "network.transport": "pipe",
        "onemcp.backend": "alpha",
    }


async def test_a_request_without_a_context_begins_a_trace(world, spans):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    malformed = params(traceparent="00-nonsense", _meta={"tracestate": "of=nothing"})
    for sent in (params(traceparent=None), malformed):
        spans.taken.clear()
        await ask(view, "tools/call", sent)
        assert spans.server.parent_id is None
        assert spans.server.context.trace_id != TRACE
        assert server.sent[-1]["_meta"]["traceparent"] == spans.client.context.traceparent
        assert "tracestate" not in server.sent[-1]["_meta"]


async def test_who_comes_with_a_context_has_decided_and_others_are_taken_by_ratio(world):
    spans = Spans(world, ratio=0.0)
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    await ask(view, "tools/call", params(UNSAMPLED))
    assert server.sent[-1]["_meta"]["traceparent"] == UNSAMPLED
    await ask(view, "tools/call", params(None))
    decided = server.sent[-1]["_meta"]["traceparent"]
    assert decided.endswith("-00")  # so that the backend begins no trace of its own
    assert not spans.taken
    await ask(view, "tools/call", params(CONTEXT))
    assert len(spans.taken) == 2
    spans.tracer.ratio = 0.5
    taken = sum(spans.tracer.begin(None).is_sampled for _ in range(1000))
    assert 350 < taken < 650


async def test_what_has_failed_says_how(world, spans):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    server.handlers["tools/call"] = failure(-32011, f"no {SECRET}")
    await ask_for_error(view, "tools/call", params())
    for span in (spans.server, spans.client):
        assert span.failure == span.attributes["rpc.response.status_code"] == "-32011"
    spans.taken.clear()
    server.handlers["tools/call"] = result(
        {"content": [{"type": "text", "text": SECRET}], "isError": True, "resultType": "complete"}
    )
    await ask(view, "tools/call", params())
    assert {span.failure for span in spans.taken} == {"tool_error"}
    spans.taken.clear()
    server.handlers["tools/call"] = nothing
    reply = await send(view, "tools/call", params())
    reply.close()
    assert [span.failure for span in spans.taken] == ["cancelled", "cancelled"]
    spans.taken.clear()
    reply = await send(view, "tools/call", params())
    server.crash()
    assert isinstance(await reply.receive(), Failure)
    assert spans.client.failure == "backend_lost"
    assert spans.server.failure is not None


async def test_a_hostile_client_makes_up_no_names_and_says_nothing_secret(world, spans):
    view = await world.show(Server(tools=[tool("t")], resources=[resource("db://x/a")]))
    for number in range(5):
        with pytest.raises(ProtocolError):
            await send(view, "tools/call", params(name=f"{SECRET}{number}"))
        with pytest.raises(ProtocolError):
            await send(view, f"{SECRET}/{number}", params())
    uri = f"db://me:{SECRET}@x/a?token={SECRET}#{SECRET}"
    await receive_all(await send(view, "resources/read", {"uri": uri}))
    request = Request("i" * 1000, "resources/read", raw({"uri": "u" * 10_000}))
    await receive_all(await view.dispatch(request, modern()))
    assert {span.name for span in spans.taken} == {"tools/call", "other", "resources/read"}
    assert SECRET not in repr([span.attributes for span in spans.taken])
    assert all(len(str(v)) <= 256 for span in spans.taken for v in span.attributes.values())


async def test_a_call_that_is_made_again_is_another_span_of_the_same_request(world, spans):
    server = Server(tools=[tool("t")])
    server.handlers["tools/call"] = script(asking({"q": ELICIT}), result({"done": True}))
    view = await world.show(server)
    reply = await send(view, "tools/call", params(), legacy(capabilities=ANSWERING))
    question = await reply.receive()
    assert isinstance(question, Request)
    reply.answer(Response(question.id, raw({"action": "decline"})))
    assert isinstance(await reply.receive(), Response)
    first, second = (span for span in spans.of("client") if span.method == "tools/call")
    assert first.parent_id == second.parent_id == spans.server.context.span_id
    got = [decoded(raw(each))["_meta"]["traceparent"] for each in server.sent]
    assert got == [first.context.traceparent, second.context.traceparent]


async def ask_during_a_call(world: World, caller: Caller, *asked: Request) -> tuple[Any, ...]:
    """Make a call during which a legacy server asks.

    Returns the server's side of the call, the client's, and what the client gets first.
    """
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
    server.handlers["tools/call"] = lambda exchange: [exchange.deliver(each) for each in asked]
    view = await world.show(server)
    reply = await send(view, "tools/call", params(), caller)
    return server.last, reply, await reply.receive()


async def test_a_question_is_a_span_of_who_is_asked_and_one_of_who_asks(world, spans):
    exchange, reply, put = await ask_during_a_call(
        world, legacy(capabilities=ANSWERING, session="5e55"), question("q" * 100)
    )
    call = exchange.call.span
    assert not spans.taken  # nothing is over
    reply.answer(Response(put.id, raw({"action": "decline"})))
    heard, told = spans.taken
    assert [(span.name, span.kind) for span in (heard, told)] == [
        ("elicitation/create", "server"),
        ("elicitation/create", "client"),
    ]
    assert (heard.parent_id, told.parent_id) == (call.context.span_id, heard.context.span_id)
    assert {heard.context.trace_id, told.context.trace_id} == {TRACE}
    assert decoded(put.params)["_meta"]["traceparent"] == told.context.traceparent
    assert heard.attributes == {
        "mcp.method.name": "elicitation/create",
        "mcp.protocol.version": LATEST_LEGACY,
        "network.transport": "pipe",
        "onemcp.backend": "alpha",
        "jsonrpc.request.id": "q" * 64,
    }
    assert told.attributes == {
        "mcp.method.name": "elicitation/create",
        "mcp.protocol.version": LATEST_LEGACY,
        "mcp.session.id": "5e55",
        "jsonrpc.request.id": str(put.id),
    }


async def test_a_server_s_own_context_of_a_question_goes_first(world, spans):
    other = f"00-{TRACE[::-1]}-{PARENT}-01"
    _, reply, put = await ask_during_a_call(
        world,
        legacy(capabilities=ANSWERING),
        question(message="Yes?", _meta={"traceparent": other}),
        question(2, message="No?", _meta={"traceparent": other[:-2] + "00"}),
        question(3, message="?", _meta=["traceparent"]),
    )
    untaken, malformed = await reply.receive(), await reply.receive()
    assert decoded(untaken.params)["_meta"]["traceparent"] == other[:-2] + "00"
    assert decoded(malformed.params)["_meta"] == ["traceparent"]
    for each in (put, untaken, malformed):
        reply.answer(Response(each.id, raw({"action": "decline"})))
    heard, told = spans.taken
    assert (heard.context.trace_id, heard.parent_id) == (TRACE[::-1], PARENT)
    assert told.parent_id == heard.context.span_id
    assert (heard.has_remote_parent, told.has_remote_parent) == (True, False)


async def test_what_becomes_of_a_question_is_told(world, spans):
    exchange, reply, first = await ask_during_a_call(
        world, legacy(capabilities=ANSWERING), *map(question, range(4)), question(4, "roots/list")
    )
    puts = [first, *[await reply.receive() for _ in range(4)]]
    reply.answer(Failure(puts[0].id, raw({"code": -32603, "message": SECRET})))
    reply.answer(Failure(puts[1].id, raw({"code": -32601, "message": SECRET})))
    exchange.deliver(withdrawal(2))
    await reply.receive()
    reply.close()
    kinds = {span.kind: [] for span in spans.taken}
    for span in spans.taken[:-2]:
        kinds[span.kind].append((span.failure, span.attributes.get("rpc.response.status_code")))
    assert kinds["client"][:2] == [("-32603", "-32603"), ("-32601", "-32601")]
    # Who answers that there is no such method is not at fault.
    assert kinds["server"][:2] == [("-32603", "-32603"), (None, "-32601")]
    assert kinds["client"][2:] == kinds["server"][2:] == [("cancelled", None)] * 3
    assert SECRET not in repr([span.attributes for span in spans.taken])


async def test_a_question_to_a_modern_client_lasts_until_it_has_come_back(world, autojump_clock):
    async with bench(world) as b:
        spans = Spans(world)
        state = await b.client.call_asked(question())
        (asking,) = state["inputRequests"].values()
        assert "_meta" not in asking["params"]  # which such questions don't have
        assert [span.method for span in spans.taken] == ["tools/call"]
        b.finish_soon()
        await trio.sleep(5)
        await b.client.retry(state)
        heard = next(span for span in spans.taken if span.method == "elicitation/create")
        assert (heard.kind, heard.failure) == ("server", None)


async def test_a_modern_server_s_question_to_a_legacy_client_is_a_span_of_the_request(world, spans):
    server = Server(tools=[tool("t")])
    server.handlers["tools/call"] = script(asking({"q": ELICIT}), result({"done": True}))
    view = await world.show(server)
    reply = await send(view, "tools/call", params(), legacy(capabilities=ANSWERING))
    put = await reply.receive()
    reply.answer(Response(put.id, raw({"action": "decline"})))
    await reply.receive()
    [told] = [span for span in spans.taken if span.method == "elicitation/create"]
    assert (told.kind, told.parent_id) == ("client", spans.server.context.span_id)
    assert decoded(put.params)["_meta"]["traceparent"] == told.context.traceparent


async def test_requests_are_measured_without_a_trace(world):
    spans = Spans(world, ratio=0.0)
    spans.tracer.measure = spans.taken.append
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    for take in (None, pytest.fail):  # no traces; traces of which this is none
        spans.tracer.take = take
        await ask(view, "tools/call", params(UNSAMPLED))
        got = server.sent[-1]["_meta"]["traceparent"]
        assert (got == UNSAMPLED) == (take is None)
        assert (got[:36], got[-2:]) == (UNSAMPLED[:36], "00")
    assert [span.kind for span in spans.taken] == ["client", "server"] * 2
    assert [span.context is None for span in spans.taken] == [True, True, False, False]


async def test_a_request_that_is_given_up_ends_its_span(world, spans):
    server = Server(tools=[tool("t")])
    server.gate = trio.Event()
    view = await world.show(server, wait=False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await send(view, "tools/call", params())
    assert spans.server.failure == "cancelled"


async def test_with_nobody_who_takes_spans_the_context_passes_unchanged(world):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    world.multiplexer.watcher = Watcher(Tracer())
    for _ in range(2):
        await ask(view, "tools/call", params(_meta={"tracestate": "a=1"}))
        got = server.sent[-1]["_meta"]
        assert (got["traceparent"], got["tracestate"]) == (CONTEXT, "a=1")
        await ask(view, "tools/call", params(None))
        assert "traceparent" not in server.sent[-1]["_meta"]
        world.multiplexer.watcher = None


async def test_what_is_told_of_a_parked_call_names_its_request(world, autojump_clock):
    async with bench(world) as b:
        context = {"_meta": {"traceparent": CONTEXT}}
        b.server.handlers["tools/call"] = lambda exchange: exchange.deliver(question())
        state = asked(await b.client.call({**PARKED, **context}, session="5e55"))
        (parked,) = b.told(CallParked)
        assert (parked.request, parked.principal, parked.session) == (7, "ada", "5e55")
        assert (parked.backend, parked.trace) == ("alpha", TRACE)
        b.finish_soon()
        await b.client.retry(state)
        with pytest.raises(ProtocolError):
            await b.client.retry({**state, "requestState": state["requestState"][:-4] + "AAAA"})
        (resumed,), (refused,) = b.told(CallResumed), b.told(RetryRefused)
        assert (resumed.request, refused.request, refused.principal) == (7, 7, "ada")
