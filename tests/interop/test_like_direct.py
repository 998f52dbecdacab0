"""Whatever a client gets from a server, it gets through onemcp as well.

Every official client does the same steps with every server three times: with the server itself,
at `/mcp`, where names have their backend's prefix, and at `/mcp/NAME`, where they have none.
"""

from __future__ import annotations

import pytest

from tests.interop.backends import BACKENDS, KINDS, UNKNOWN, call, prefixed
from tests.interop.comparing import (
    INVALID_PARAMS,
    differences,
    exposed,
    is_for_tasks,
    key_of,
    without_era,
)
from tests.interop.jobs import MODERN

pytestmark = pytest.mark.interop

LISTS = slice(1, 1 + len(KINDS))


def test_bare_names_at_the_endpoint_of_one_backend(world, client, backend):
    steps = world.steps(client, backend)
    direct = world.directly(client, backend)
    through = world.through(client, backend, alone=True)
    found = differences(steps[1:], direct[1:], through[1:], backend.fixture)
    assert not found, "\n".join(found)


def test_prefixed_names_at_the_endpoint_of_all(world, client, backend):
    steps = world.steps(client, backend)[LISTS.stop :]
    direct = world.directly(client, backend)[LISTS.stop :]
    _, *through = world.through(client, backend, alone=False)
    renamed = [prefixed(step, backend.prefix) for step in steps]
    found = differences(renamed, direct, through, backend.fixture, backend.prefix)
    assert not found, "\n".join(found)


@pytest.mark.requirement("server/tools#capabilities-4")
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_listed_in_order(world, client, kind):
    expected = []
    seen = set()
    for backend in BACKENDS:
        outcome = world.directly(client, backend)[LISTS][KINDS.index(kind)]
        # What a server doesn't offer is an empty list here: other servers offer it.
        for item in exposed(outcome.get("ok", ()), kind, backend.prefix):
            # URIs are identities: the first backend that lists one has it.
            if key_of(kind)(item) not in seen:
                seen.add(key_of(kind)(item))
                expected.append(without_era(item))
    items = world.listed(client)[KINDS.index(kind)]["ok"]
    listed = [without_era(item) for item in items if not is_for_tasks(item)]
    assert [key_of(kind)(item) for item in listed] == [key_of(kind)(item) for item in expected]
    assert listed == expected


def test_each_client_speaks_its_era_with_onemcp(world, client, backend):
    for alone in (True, False):
        about = world.through(client, backend, alone=alone)[0]["ok"]
        assert (about["revision"] == MODERN) == (client.kind.era == "modern")
        assert about["server"]["name"] == "onemcp"


def test_instructions_of_a_backend_are_its_own_words(world, client, backend):
    direct = world.directly(client, backend)[0]["ok"]
    alone = world.through(client, backend, alone=True)[0]["ok"]
    among_all = world.through(client, backend, alone=False)[0]["ok"]
    assert alone["instructions"] == direct["instructions"]
    assert (direct["instructions"] or "") in among_all["instructions"]


@pytest.mark.parametrize("name", ["everything", "memory", "own", "reflegacy"])
def test_unknown_tools_are_the_error_that_the_specification_has_for_them(world, client, name):
    """Servers made with either SDK's high-level API answer with a result that is an error."""
    (alone,) = client.run(world.target(name), [call(UNKNOWN)])
    (among_all,) = client.run(world.target(), [call(f"{name}__{UNKNOWN}")])
    assert [alone["error"]["code"], among_all["error"]["code"]] == [INVALID_PARAMS] * 2


def test_what_is_compared_has_questions_logs_and_progress(world, client):
    backend = next(backend for backend in BACKENDS if backend.name == "ref")
    outcomes = world.directly(client, backend)
    calls = [outcome["ok"] for outcome in outcomes if "asked" in outcome.get("ok", ())]
    assert sum(len(made["asked"]) for made in calls) == 18
    logs = [log for made in calls for log in made.get("logs", ())]
    assert {log["level"] for log in logs} == {"info"}
    assert len(logs) == 3
    assert sum(len(made.get("progress", ())) for made in calls) >= 4
