"""Finding out the era of a backend, and agreeing on a revision with it."""

from __future__ import annotations

import pytest
import trio

from onemcp.backend import HandshakeFailed, ServerDescription
from onemcp.backend.handshake import EraMemory
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN, Era
from tests.backend.core.fakes import IDENTITY, PROBE

META = "io.modelcontextprotocol/"


@pytest.mark.requirement(
    "basic/transports/stdio#backward-compatibility-1", "server/discover#when-to-call-1"
)
async def test_a_modern_backend_is_probed_and_described(autojump_clock, duplex):
    under = duplex()
    request = await under.peer.next()
    assert request["method"] == "server/discover"
    meta = request["params"]["_meta"]
    assert meta[META + "protocolVersion"] == LATEST_MODERN
    assert meta[META + "clientInfo"] == {"name": "onemcp", "version": "0"}
    assert meta[META + "clientCapabilities"] == {}
    under.peer.answer(
        request,
        {
            "supportedVersions": ["2099-01-01", LATEST_MODERN],
            "capabilities": {"tools": {"listChanged": True}, "logging": True},
            "instructions": "Use it.",
            "_meta": {META + "serverInfo": {"name": "s"}},
        },
    )
    server = await under.wait_up()
    assert (server.revision, server.era) == (LATEST_MODERN, Era.MODERN)
    assert bytes(server.info) == b'{"name": "s"}'
    assert server.instructions == "Use it."
    assert server.has("tools")
    assert server.has("tools", "listChanged")
    assert not server.has("tools", "other")
    assert not server.has("logging")
    assert not server.has("prompts", "listChanged")
    assert under.memory.era is Era.MODERN
    assert under.peer.rest() == []


@pytest.mark.requirement("basic/transports/stdio#backward-compatibility-2")
@pytest.mark.parametrize(
    "error",
    [
        {"code": -32601},
        {"code": -32602},
        {"code": -32000, "data": {"supported": [LATEST_MODERN]}},
        {"code": 0},
        {"code": "-32022"},
    ],
)
async def test_any_error_that_is_not_modern_means_legacy(autojump_clock, duplex, error):
    under = duplex()
    under.peer.refuse(await under.peer.next(), **error)
    await under.peer.initialized(tools={})
    server = await under.wait_up()
    assert (server.revision, server.era) == (LATEST_LEGACY, Era.LEGACY)
    assert under.memory.era is Era.LEGACY


async def test_initialize_says_who_onemcp_is_and_what_its_clients_may_be_able_to_do(
    autojump_clock, duplex
):
    under = duplex("legacy")
    request = await under.peer.next()
    assert request["method"] == "initialize"
    assert request["params"] == {
        "protocolVersion": LATEST_LEGACY,
        "capabilities": {
            "elicitation": {"form": {}, "url": {}},
            "extensions": {
                "io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}
            },
            "roots": {"listChanged": True},
            "sampling": {"context": {}, "tools": {}},
            "tasks": {
                "cancel": {},
                "list": {},
                "requests": {"elicitation": {"create": {}}, "sampling": {"createMessage": {}}},
            },
        },
        "clientInfo": {"name": "onemcp", "version": "0"},
    }
    under.peer.answer(
        request, {"protocolVersion": "2024-11-05", "serverInfo": {"name": "s"}, "capabilities": []}
    )
    server = await under.wait_up()
    assert server == ServerDescription("2024-11-05", {}, server.info)
    assert bytes(server.info) == b'{"name": "s"}'


@pytest.mark.requirement("basic/transports/stdio#backward-compatibility-2")
async def test_silence_means_legacy_after_a_while(autojump_clock, duplex):
    under = duplex()
    assert (await under.peer.next())["method"] == "server/discover"
    started = trio.current_time()
    await under.peer.initialized()
    assert trio.current_time() - started == pytest.approx(PROBE, abs=0.1)
    assert (await under.wait_up()).era is Era.LEGACY
    assert under.peer.rest() == [], "a legacy backend is not told of a cancelled probe"


async def test_a_late_answer_to_the_probe_is_no_violation(autojump_clock, duplex):
    under = duplex()
    probe = await under.peer.next()
    await under.peer.initialized()
    await under.wait_up()
    under.peer.refuse(probe)
    await trio.sleep(1)
    assert under.connection.inbound.last_violation is None


async def test_a_modern_backend_that_is_slow_to_start_is_understood(autojump_clock, duplex):
    """``npx`` on a cold cache: both requests wait until the program reads them."""
    under = duplex()
    probe = await under.peer.next()
    initialize = await under.peer.next()
    under.peer.answer(probe, {"supportedVersions": [LATEST_MODERN], "capabilities": {}})
    under.peer.refuse(initialize, -32601)
    assert (await under.wait_up()).era is Era.MODERN
    assert under.memory.era is Era.MODERN


async def test_a_slow_modern_backend_may_answer_out_of_order(autojump_clock, duplex):
    under = duplex()
    probe, initialize = await under.peer.next(), await under.peer.next()
    under.peer.refuse(initialize, -32601)
    await trio.sleep(1)
    under.peer.answer(probe, {"supportedVersions": [LATEST_MODERN], "capabilities": {}})
    assert (await under.wait_up()).era is Era.MODERN


@pytest.mark.parametrize("late", [True, False])
async def test_a_backend_that_refuses_both_is_given_up(autojump_clock, duplex, late):
    under = duplex()
    probe, initialize = await under.peer.next(), await under.peer.next()
    under.peer.refuse(initialize, -32600)
    if late:
        under.peer.refuse(probe)
    assert (await under.wait_lost()).reason == "it refused initialize: no"


async def test_a_refused_initialize_after_a_refused_probe_is_final(autojump_clock, duplex):
    under = duplex()
    under.peer.refuse(await under.peer.next())
    under.peer.refuse(await under.peer.next())
    lost = await under.wait_lost()
    assert isinstance(lost, HandshakeFailed)
    assert lost.reason == "it refused initialize: no"


@pytest.mark.requirement("basic/versioning#protocol-version-negotiation-2")
async def test_an_unsupported_version_is_negotiated(autojump_clock, duplex):
    under = duplex()
    under.peer.refuse(await under.peer.next(), -32022, data={"supported": [LATEST_MODERN]})
    await under.peer.discovered()
    assert (await under.wait_up()).revision == LATEST_MODERN


async def test_a_backend_that_contradicts_itself_is_not_asked_for_ever(autojump_clock, duplex):
    under = duplex()
    for _ in range(2):
        under.peer.refuse(await under.peer.next(), -32022, data={"supported": [LATEST_MODERN]})
    assert "none of which onemcp does" in (await under.wait_lost()).reason


async def test_an_unsupported_version_with_a_legacy_one_in_the_list_falls_back(
    autojump_clock, duplex
):
    under = duplex()
    supported = {"supported": ["2099-01-01", "2025-06-18"]}
    under.peer.refuse(await under.peer.next(), -32022, data=supported)
    await under.peer.initialized("2025-06-18")
    assert (await under.wait_up()).revision == "2025-06-18"


@pytest.mark.requirement("basic/versioning#protocol-version-negotiation-2")
async def test_a_backend_of_unknown_revisions_is_given_up(autojump_clock, duplex):
    under = duplex()
    under.peer.refuse(await under.peer.next(), -32022, data={"supported": ["2099-01-01"]})
    assert (await under.wait_lost()).reason == "it speaks 2099-01-01, none of which onemcp does"


@pytest.mark.parametrize(
    "error",
    [
        {"code": -32021},
        {"code": -32022},
        {"code": -32022, "data": {"supported": "all"}},
        {"code": -32022, "data": []},
    ],
)
async def test_a_modern_error_without_an_alternative_is_final(autojump_clock, duplex, error):
    under = duplex()
    under.peer.refuse(await under.peer.next(), **error)
    assert (await under.wait_lost()).reason == "it refused server/discover: no"


@pytest.mark.parametrize(
    "result",
    [{}, {"supportedVersions": None}, {"tools": []}, {"supportedVersions": ["2025-11-25"]}],
)
async def test_an_answer_that_is_no_discovery_means_legacy(autojump_clock, duplex, result):
    under = duplex()
    under.peer.answer(await under.peer.next(), result)
    await under.peer.initialized()
    assert (await under.wait_up()).era is Era.LEGACY


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ([], "nonsense"),
        ("yes", "nonsense"),
        ({"supportedVersions": ["1"]}, "it speaks ['1'], none of which onemcp does"),
        ({"supportedVersions": []}, "it speaks [], none of which onemcp does"),
        ({"supportedVersions": [LATEST_MODERN], "_meta": 5}, "nonsense"),
    ],
)
async def test_nonsense_ends_the_handshake(autojump_clock, duplex, result, reason):
    under = duplex()
    under.peer.say({"id": (await under.peer.next())["id"], "result": result})
    lost = await under.wait_lost()
    assert isinstance(lost, HandshakeFailed)
    assert reason in lost.reason


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ([], "nonsense"),
        ({}, "answered initialize with revision 'None'"),
        ({"protocolVersion": LATEST_MODERN}, "revision '2026-07-28', which onemcp doesn't speak"),
        ({"protocolVersion": ["2025-11-25"]}, "which onemcp doesn't speak"),
        ({"protocolVersion": "x" * 1000}, "revision 'xxxx"),
    ],
)
async def test_nonsense_ends_the_legacy_handshake(autojump_clock, duplex, result, reason):
    under = duplex("legacy")
    under.peer.say({"id": (await under.peer.next())["id"], "result": result})
    lost = await under.wait_lost()
    assert reason in lost.reason
    assert len(lost.reason) < 300


# --- pins ------------------------------------------------------------------------------------


async def test_a_pinned_legacy_revision_is_offered(autojump_clock, duplex):
    under = duplex("2025-03-26")
    request = await under.peer.next()
    assert request["params"]["protocolVersion"] == "2025-03-26"


@pytest.mark.requirement("basic/transports/stdio#backward-compatibility-3")
@pytest.mark.parametrize("pin", ["modern", LATEST_MODERN])
async def test_a_pinned_modern_backend_is_not_handshaken_with(autojump_clock, duplex, pin):
    under = duplex(pin)
    under.peer.refuse(await under.peer.next())
    lost = await under.wait_lost()
    assert "which the configuration pins" in lost.reason
    assert under.peer.rest() == []


async def test_a_pinned_modern_backend_may_be_slow(autojump_clock, duplex):
    under = duplex("modern")
    request = await under.peer.next()
    await trio.sleep(3 * PROBE)
    under.peer.answer(request, {"supportedVersions": [LATEST_MODERN]})
    assert (await under.wait_up()).era is Era.MODERN
    assert under.peer.rest() == []


# --- what is remembered ----------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/transports/stdio#backward-compatibility-2",
    "basic/versioning#backward-compatibility-with-initialization-based-versions-1",
)
async def test_a_program_that_exits_when_probed_is_handshaken_with_at_its_next_start(
    autojump_clock, duplex
):
    memory = EraMemory()
    first = duplex(memory=memory)
    await first.peer.next()
    first.peer.end("it exited with status 1")
    assert (await first.wait_lost()).reason == "it exited with status 1"
    second = duplex(memory=memory)
    await second.peer.initialized()
    await second.wait_up()
    assert memory.era is Era.LEGACY


@pytest.mark.requirement(
    "basic/versioning#backward-compatibility-with-initialization-based-versions-1"
)
async def test_a_backend_that_has_become_modern_is_probed_again(autojump_clock, duplex):
    memory = EraMemory(Era.LEGACY)
    first = duplex(memory=memory)
    first.peer.refuse(await first.peer.next(), -32022)
    await first.wait_lost()
    second = duplex(memory=memory)
    await second.peer.discovered()
    await second.wait_up()
    assert memory.era is Era.MODERN


async def test_a_modern_backend_that_crashes_at_once_is_probed_again(autojump_clock, duplex):
    memory = EraMemory(Era.MODERN)
    first = duplex(memory=memory)
    await first.peer.next()
    first.peer.end("it was killed by SIGKILL")
    await first.wait_lost()
    second = duplex(memory=memory)
    await second.peer.discovered()
    assert (await second.wait_up()).era is Era.MODERN


async def test_a_backend_that_has_become_legacy_and_exits_when_probed_is_found_out(
    autojump_clock, duplex
):
    memory = EraMemory(Era.MODERN)
    for _ in range(2):
        under = duplex(memory=memory)
        assert (await under.peer.next())["method"] == "server/discover"
        under.peer.end("it exited with status 1")
        await under.wait_lost()
    last = duplex(memory=memory)
    await last.peer.initialized()
    assert (await last.wait_up()).era is Era.LEGACY


async def test_a_pin_overrides_what_is_remembered(autojump_clock, duplex):
    under = duplex("legacy", EraMemory(Era.MODERN))
    await under.peer.initialized()
    assert (await under.wait_up()).era is Era.LEGACY


async def test_notifications_and_progress_before_the_answer_are_passed_over(autojump_clock, duplex):
    under = duplex()
    request = await under.peer.next()
    under.peer.say({"method": "notifications/message", "params": {"level": "info", "data": 1}})
    under.peer.say({"method": "notifications/progress", "params": {"progressToken": 1}})
    under.peer.say({"id": 1, "method": "roots/list"})
    under.peer.answer(request, {"supportedVersions": [LATEST_MODERN]})
    await under.wait_up()
    refusal = await under.peer.next()
    assert (refusal["id"], refusal["error"]["code"]) == (1, -33007)


@pytest.mark.requirement("basic/index#meta-9")
def test_the_identity_is_sent_as_it_is():
    assert bytes(IDENTITY) == b'{"name":"onemcp","version":"0"}'
