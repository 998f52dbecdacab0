"""Views and filters: what the file may say, and what can never mean anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onemcp.config import (
    Backend,
    Configuration,
    ConfigurationError,
    InvalidOption,
    Patterns,
    StdioTransport,
    View,
    WordedPatterns,
    Wording,
    parse,
)

SERVERS = {
    "github": {"command": "a", "tags": ["code"]},
    "tickets": {"url": "https://x.example/mcp", "tags": ["desk", "code"]},
}


def read(views: Any = None, **more: Any) -> Configuration:
    servers = {name: {**entry, **more.get(name, {})} for name, entry in SERVERS.items()}
    return parse(json.dumps({"mcpServers": servers, "views": views or {}}), source="f")


def problems(views: Any = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(views, **more)
    assert all(problem.line == 1 and problem.column > 1 for problem in caught.value.problems)
    return [
        f"{problem.path}: {problem.message}. {problem.remedy}" for problem in caught.value.problems
    ]


def test_a_view_says_what_it_selects():
    words = {"tickets/search": {"title": "Find", "description": "Find it."}}
    told = {
        "backends": ["tickets"],
        "tags": ["code"],
        "tools": {"allow": ["tickets/*", "get_*"], "deny": ["*/x"], "override": words},
        "prompts": {"allow": []},
        "resources": {"deny": ["x://*"]},
        "prefix": False,
        "instructions": "Go.",
    }
    configuration = read({"desk": told, "all": {}})
    desk = View(
        name="desk",
        backends=("tickets",),
        tags=("code",),
        tools=WordedPatterns(
            allow=("tickets/*", "get_*"),
            deny=("*/x",),
            override={"tickets/search": Wording(title="Find", description="Find it.")},
        ),
        prompts=WordedPatterns(allow=()),
        resources=Patterns(deny=("x://*",)),
        prefix=False,
        instructions="Go.",
    )
    assert configuration.views == (desk, View(name="all"))


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (View(name="v"), ["one", "two", "three"]),
        (View(name="v", backends=["two"]), ["two"]),
        (View(name="v", tags=["t"]), ["one", "three"]),
        (View(name="v", backends=["two"], tags=["t"]), ["one", "two", "three"]),
        (View(name="v", backends=[]), []),
        (View(name="v", backends=[], tags=[]), []),
    ],
)
def test_a_view_shows_what_it_names_and_what_is_tagged(view: View, shown: list[str]):
    assert view.shown({"one": ("t",), "two": ("u",), "three": ("s", "t")}) == shown


def test_what_a_server_may_show_is_part_of_it():
    (github, _) = read(
        github={"tools": {"deny": ["delete_*"]}, "resources": {"allow": []}}
    ).backends
    assert github.tools == Patterns(deny=("delete_*",))
    assert github.resources == Patterns(allow=())
    assert github.tags == ("code",)
    assert github.running == read(github={"tags": []}).backends[0].running


BAD = [
    (
        {"github": {}},
        "views.github: is the name of a server too. Rename the view: both have the same address",
    ),
    ({"v": {"backends": ["githb"]}}, 'views.v.backends[0]: no such server. Did you mean "github"?'),
    (
        {"v": {"backends": ["zzz"]}},
        "views.v.backends[0]: no such server. There are: github, tickets",
    ),
    (
        {"v": {"tags": ["code", "dsek"]}},
        'views.v.tags[1]: no server carries this tag. Did you mean "desk"?',
    ),
    (
        {"v": {"tools": {"deny": ["tikets/x"]}}},
        (
            "views.v.tools.deny[0]: what stands before the slash is no server of this view. "
            'Did you mean "tickets"?'
        ),
    ),
    (
        {"v": {"backends": ["github"], "prompts": {"allow": ["*", "tick*/x"]}}},
        (
            "views.v.prompts.allow[1]: what stands before the slash is no server of this view. "
            "There are: github"
        ),
    ),
    (
        {"v": {"tools": {"allow": ["get"], "deny": ["get"]}}},
        "views.v.tools.allow[0]: is denied as well, so it lets nothing through. Keep one",
    ),
    (
        {"v": {"resources": {"allow": ["x://*"], "deny": ["x://*"]}}},
        "views.v.resources.allow[0]: is denied as well, so it lets nothing through. Keep one",
    ),
    (
        {"v": {"backends": ["tickets"], "tools": {"override": {"search": {}}}}},
        'views.v.tools.override.search: is not of the form SERVER/NAME. Write "tickets/search"',
    ),
    (
        {"v": {"tools": {"override": {"tickets/": {}}}}},
        'views.v.tools.override["tickets/"]: is not of the form SERVER/NAME. Name the server too',
    ),
    (
        {"v": {"tags": ["desk"], "prompts": {"override": {"github/x": {}}}}},
        (
            'views.v.prompts.override["github/x"]: what stands before the slash is no server of '
            "this view. There are: tickets"
        ),
    ),
    (
        {"-v": {}},
        (
            "views.-v: the name must be 1 to 64 letters, digits, dots, dashes and underscores, "
            "and start with a letter or digit. "
        ),
    ),
    ({"v": {"tool": {}}}, 'views.v.tool: unknown option. Did you mean "tools"?'),
    (
        {"v": {"backends": "tickets"}},
        "views.v.backends: must be a list, not a string. Put it in brackets",
    ),
    (
        {"v": {"tools": {"allow": [""]}}},
        "views.v.tools.allow[0]: must be a pattern of 1 to 1024 characters. ",
    ),
    ({"v": []}, "views.v: must be an object, not a list. "),
    ([], "views: must be an object, not a list. "),
]


@pytest.mark.parametrize(("views", "problem"), BAD)
def test_what_can_never_mean_anything_is_refused(views: Any, problem: str):
    if views == []:
        with pytest.raises(ConfigurationError) as caught:
            parse(json.dumps({"mcpServers": SERVERS, "views": []}), source="f")
        (only,) = caught.value.problems
        assert f"{only.path}: {only.message}. {only.remedy}" == problem
    else:
        assert problems(views) == [problem]


def test_a_filter_that_contradicts_itself_is_refused():
    assert problems(github={"tools": {"allow": ["a"], "deny": ["a", "b"]}}) == [
        "mcpServers.github.tools.allow[0]: is denied as well, so it lets nothing through. Keep one"
    ]


def test_all_that_is_wrong_is_told_at_once():
    assert len(problems({"v": {"backends": ["x"], "tags": ["y"]}, "github": {}})) == 3


def test_a_configuration_that_is_built_obeys_the_same_rules():
    backend = Backend(name="a", transport=StdioTransport(command="a"))
    with pytest.raises(InvalidOption, match=r"^views.v.backends\[0\] no such server$"):
        Configuration(backends=[backend], views=[View(name="v", backends=["b"])])
    with pytest.raises(InvalidOption, match="two views have the same name"):
        Configuration(backends=[backend], views=[View(name="v"), View(name="v")])
