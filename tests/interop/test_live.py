"""What happens while a call runs, and between calls: cancellation and changes reach their goal."""

from __future__ import annotations

import time

import pytest

from tests.interop.backends import BACKENDS, call, prefixed
from tests.interop.jobs import CLIENTS

pytestmark = pytest.mark.interop

PATIENCE = 60
"""Seconds until a change or a cancellation must have arrived."""
OWN = [backend for backend in BACKENDS if backend.fixture == "own"]
REFERENCE = [backend for backend in BACKENDS if backend.fixture == "reference"]
NAME = "added"
"""The key of the backend that is added while everything runs."""

of_own = pytest.mark.parametrize("backend", OWN, ids=lambda backend: backend.name)
of_reference = pytest.mark.parametrize("backend", REFERENCE, ids=lambda backend: backend.name)


def run(world, client, backend, *steps, alone=False):
    """Do some steps at either endpoint, and return their results."""
    if not alone:
        steps = [prefixed(step, backend.prefix) for step in steps]
    outcomes = client.run(world.target(backend.name if alone else None), steps)
    assert all("ok" in outcome for outcome in outcomes), outcomes
    return [outcome["ok"] for outcome in outcomes]


@pytest.mark.requirement("basic/patterns/cancellation#introduction-1")
@of_own
def test_cancelling_a_call_reaches_the_backend(world, client, backend):
    label = f"{client.kind.name} {backend.name}"
    (cancelled,) = run(world, client, backend, {**call("wait", label=label), "op": "cancel"})
    assert cancelled == {"cancelled": True}
    deadline = time.monotonic() + PATIENCE
    while True:
        (asked,) = run(world, client, backend, call("was_cancelled", label=label))
        if asked["result"]["structuredContent"] == {"result": True}:
            return
        assert time.monotonic() < deadline, "the call goes on"


@pytest.mark.requirement("basic/patterns/progress#implementation-notes-1")
@of_own
def test_every_client_gets_progress_of_its_own_call(world, backend):
    """All clients call at once, so that the tokens that they choose are likely to be equal."""
    steps = [prefixed(call("steps", count=20), backend.prefix)]
    # One program does one job at a time: one client of each.
    clients = {each.program: world.clients[each.name] for each in CLIENTS}.values()
    jobs = [(client, client.start(world.target(), steps)) for client in clients]
    for client, job in jobs:
        (outcome,) = client.finish(job)
        assert [note["progress"] for note in outcome["ok"]["progress"]] == [*range(1, 21)]


CHANGING = {
    "tools": ("test_trigger_tool_change", "test_dynamic_tool"),
    "prompts": ("test_trigger_prompt_change", "test_dynamic_prompt"),
}


@pytest.mark.requirement(
    "server/prompts#list-changed-notification-1", "server/tools#list-changed-notification-1"
)
@pytest.mark.parametrize(("kind", "alone"), [("tools", False), ("prompts", True)])
@of_reference
def test_changed_lists_reach_the_client(world, client, backend, kind, alone):
    trigger, name = CHANGING[kind]
    change = {"op": "change", "kind": kind, "call": call(trigger)}
    listing = {"op": "list", "kind": kind}
    steps = [listing, {**change, "contains": name}, listing, {**change, "lacks": name}, listing]
    before, _, during, _, after = run(world, client, backend, *steps, alone=alone)
    # The server over HTTP is behind two backends: of the other one it may be heard any time.
    prefix = "" if alone else backend.prefix
    names = [
        {item["name"] for item in items if item["name"].startswith(prefix)}
        for items in (before, during, after)
    ]
    assert names[1] - names[0] == {prefix + name}
    assert names[0] < names[1]
    assert names[2] == names[0]


@of_reference
def test_updated_resources_reach_the_client(world, client, backend):
    _see_it_updated(world, client, backend, alone=True)


def test_updated_resources_reach_the_client_at_the_endpoint_of_all(world, client):
    # It is the first backend's, where several have one of that name.
    _see_it_updated(world, client, REFERENCE[0], alone=False)


def _see_it_updated(world, client, backend, *, alone):
    uri = "test://watched-resource"
    change = {"op": "change", "uri": uri, "call": call("test_trigger_resource_update")}
    (heard,) = run(world, client, backend, change, alone=alone)
    assert heard == {"method": "notifications/resources/updated", "uri": uri}


def test_a_backend_that_is_added_and_taken_away_shows_up_at_once(world):
    """The configuration file is edited while clients of every kind wait for news."""
    clients = [world.clients[each.name] for each in CLIENTS]
    for chosen in ([clients[0], *clients[2:4]], [clients[1], clients[4]]):
        _see_it_come_and_go(world, chosen)


def _see_it_come_and_go(world, clients):
    steps = [
        {"op": "change", "kind": "tools", "contains": f"{NAME}__add"},
        call(f"{NAME}__add", a=1, b=2),
    ]
    jobs = [(client, client.start(world.target(), steps)) for client in clients]
    for client, job in jobs:
        client.wait_ready(job)
    world.gateway.configure({**world.servers, NAME: {"url": world.direct["own"]["url"]}})
    try:
        for client, job in jobs:
            _, called = client.finish(job)
            assert called["ok"]["result"]["structuredContent"] == {"result": 3}
        steps = [{"op": "change", "kind": "tools", "lacks": f"{NAME}__add"}]
        jobs = [(client, client.start(world.target(), steps)) for client in clients]
        for client, job in jobs:
            client.wait_ready(job)
    finally:
        world.gateway.configure(world.servers)
    for client, job in jobs:
        assert "ok" in client.finish(job)[0]
