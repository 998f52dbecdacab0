"""The suite's scenarios for clients, those of authorization apart, and what is done in each.

`conformance list --client --spec-version VERSION` prints their names. Each is a function that has
an official client do through onemcp what the scenario asks of a client, and looks at what comes
back; the suite looks at what its server gets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from tests.interop.jobs import Client, Outcome, Step
    from tests.support.running import Gateway

PREFIX = "suite"
"""What the names of the suite's server get, so that passing them on would show."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "http-standard-headers": {
        "ClientMcpMethodHeader_initialize": "2026-07-28, which the scenario speaks, has none",
        "ClientMcpMethodHeader_notifications_initialized": "likewise",
    },
    "request-metadata": dict.fromkeys(
        (
            "ClientDeclaresRootsCapability",
            "ClientDeclaresSamplingCapability",
            "ClientDeclaresElicitationCapability",
        ),
        "the server has no capability, so only onemcp itself asks it anything, and it has none",
    ),
}
"""Checks that can't succeed, by scenario and name, with the reason; they fail once they do."""


@dataclass(frozen=True)
class Drive:
    """One scenario, with a gateway between its server and a client.

    Attributes:
        gateway: onemcp, with the suite's server as its only backend.
        client: The official client.
        backend: What onemcp calls the server.
        context: What the scenario tells the client.
    """

    gateway: Gateway
    client: Client
    backend: str
    context: dict[str, Any]

    async def run(self, *steps: Step) -> list[Outcome]:
        """Have the client do something on one connection; return the outcome of each step."""
        target = {"url": self.gateway.url}
        return await trio.to_thread.run_sync(self.client.run, target, steps)

    async def results(self, *steps: Step) -> list[Any]:
        """Have the client do something that succeeds."""
        outcomes = await self.run(*steps)
        assert [each for each in outcomes if "ok" not in each] == []
        return [each["ok"] for each in outcomes]

    async def tools(self) -> dict[str, dict[str, Any]]:
        """Return the definitions of all tools, by the backend's own names."""
        (listed,) = await self.results({"op": "list", "kind": "tools"})
        return {each["name"].removeprefix(f"{PREFIX}__"): each for each in listed}


def call(name: str, arguments: dict[str, Any] | None = None) -> Step:
    return {"op": "call", "name": f"{PREFIX}__{name}", "arguments": arguments or {}}


def text_of(called: Any) -> str:
    return str(called["result"]["content"][0]["text"])


async def nothing(drive: Drive) -> None:
    """Just connect: the server offers nothing."""
    (about,) = await drive.results({"op": "about"})
    assert about["server"]["name"] == "onemcp"


async def tools_call(drive: Drive) -> None:
    assert [*await drive.tools()] == ["add_numbers"]
    (called,) = await drive.results(call("add_numbers", {"a": 5, "b": 3}))
    assert text_of(called) == "The sum of 5 and 3 is 8"


async def elicitation_defaults(drive: Drive) -> None:
    (called,) = await drive.results(call("test_client_elicitation_defaults"))
    assert text_of(called).startswith("Elicitation completed")


async def sse_retry(drive: Drive) -> None:
    (called,) = await drive.results(call("test_reconnection"))
    assert text_of(called) == "Reconnection test completed successfully"


async def request_state(drive: Drive) -> None:
    called = await drive.results(
        call("test_mrtr_echo_state"),
        call("test_mrtr_unrelated"),
        call("test_mrtr_no_state"),
        call("test_mrtr_no_result_type"),
    )
    assert [text_of(each) for each in called] == [
        "echo-state-ok",
        "unrelated-ok",
        "no-state-ok",
        "no-result-type-test-ok",
    ]


async def standard_headers(drive: Drive) -> None:
    *_, resources, prompts = await drive.results(
        call("test_headers"),
        call("my-hyphenated-tool"),
        {"op": "list", "kind": "resources"},
        {"op": "list", "kind": "prompts"},
    )
    reads = [{"op": "read", "uri": each["uri"]} for each in resources]
    gets = [{"op": "prompt", "name": each["name"]} for each in prompts]
    assert len(await drive.results(*reads, *gets)) == 3


async def custom_headers(drive: Drive) -> None:
    listing = {"op": "list", "kind": "tools"}
    wanted = [call(each["name"], each["arguments"]) for each in drive.context["toolCalls"]]
    _, *called = await drive.results(listing, *wanted)
    assert {text_of(each) for each in called} == {"Custom headers test completed"}


async def invalid_headers(drive: Drive) -> None:
    assert [*await drive.tools()] == ["valid_tool"]
    rejected = drive.gateway.lines("item_rejected", backend=drive.backend, level="warning")
    assert len(rejected) == 11, rejected
    await drive.results(call("valid_tool", {"region": "eu"}))
    for line in rejected:
        (outcome,) = await drive.run(call(line["item"], {"value": "x"}))
        assert outcome["error"]["code"] == -32602


async def no_network_reference(drive: Drive) -> None:
    properties = (await drive.tools())["lookup_user"]["inputSchema"]["properties"]
    assert properties["id"] == {"$ref": "#/$defs/userId"}
    assert properties["profile"]["$ref"].startswith("http://localhost:")


async def schema_preservation(drive: Drive) -> None:
    schema = (await drive.tools())["json_schema_2020_12_tool"]["inputSchema"]
    await drive.results(call("json_schema_echo", {"schema": schema}))


SCENARIOS: dict[str, dict[str, Callable[[Drive], Awaitable[None]]]] = {
    "2026-07-28": {
        "tools_call": tools_call,
        "request-metadata": nothing,
        "sep-2322-client-request-state": request_state,
        "http-standard-headers": standard_headers,
        "http-custom-headers": custom_headers,
        "http-invalid-tool-headers": invalid_headers,
        "json-schema-ref-no-deref": no_network_reference,
        "json-schema-2020-12-preservation": schema_preservation,
    },
    "2025-11-25": {
        "initialize": nothing,
        "tools_call": tools_call,
        "elicitation-sep1034-client-defaults": elicitation_defaults,
        "sse-retry": sse_retry,
        "json-schema-2020-12-preservation": schema_preservation,
    },
    "2025-06-18": {
        "initialize": nothing,
        "tools_call": tools_call,
    },
}
