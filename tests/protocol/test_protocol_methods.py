"""What exists in which revision, against the method tables of the official types."""

from __future__ import annotations

import mcp_types.methods as official
import pytest

from onemcp.protocol import methods as m

CLIENT = {method for method, _ in official.CLIENT_REQUESTS}
SERVER = {method for method, _ in official.SERVER_REQUESTS}
NOTIFICATIONS = {
    method
    for table in (official.CLIENT_NOTIFICATIONS, official.SERVER_NOTIFICATIONS)
    for method, _ in table
}
TASKS = {
    *("tasks/get", "tasks/update", "tasks/cancel", "notifications/tasks"),  # the extension
    *("tasks/result", "tasks/list", "notifications/tasks/status"),  # 2025-11-25, experimental
}
"""What the official tables leave to the extension."""
CONSTANTS = {value for name, value in vars(m).items() if name.isupper() and isinstance(value, str)}


def test_every_method_that_is_named_exists():
    known = CLIENT | SERVER | NOTIFICATIONS | TASKS
    assert {method for method in CONSTANTS if method not in known} == set()


@pytest.mark.requirement("server/utilities/caching#cacheable-results-1")
def test_cacheable_methods_are_those_of_the_specification():
    assert {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    } == m.CACHEABLE
    assert set(official.CACHEABLE_METHODS) == m.CACHEABLE


def test_named_methods_are_those_of_the_specification():
    named = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
    by_task = dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId")
    assert named | by_task == m.NAMED


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-2")
def test_questions_are_what_a_legacy_server_may_ask_but_for_pings():
    assert set(m.QUESTIONS) == SERVER - {m.PING}


@pytest.mark.parametrize("catalogue", m.CATALOGUES, ids=lambda catalogue: catalogue.method)
def test_a_catalogue_is_listed_and_its_changes_are_announced(catalogue):
    assert catalogue.method in CLIENT
    assert catalogue.changed in NOTIFICATIONS
    model = official.SERVER_RESULTS[catalogue.method, "2026-07-28"]
    aliases = {field.alias or name for name, field in model.model_fields.items()}
    assert catalogue.key in aliases
    assert m.LISTS[catalogue.method] is catalogue


def test_list_changed_notifications_are_those_of_the_catalogues():
    assert {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
    } == m.LIST_CHANGED


def test_log_levels_rise_in_severity():
    assert m.LOG_LEVELS[0] == "debug"
    assert m.LOG_LEVELS[-1] == "emergency"
    assert len(set(m.LOG_LEVELS)) == 8
