"""What belongs to a selection, and what never does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.auth import parse_scopes
from onemcp.multiplexer.endpoint import Arrangement, Endpoint
from onemcp.multiplexer.scopes import selection_of
from onemcp.multiplexer.selection import (
    ALL,
    EVERYTHING,
    NONE,
    NOTHING,
    Candidate,
    Extent,
    Filter,
    Pattern,
    PerBackend,
    Rule,
    Selection,
    intersection,
    union,
)
from onemcp.protocol.fields import raw
from onemcp.protocol.methods import CATALOGUES, PROMPTS, RESOURCES, TEMPLATES, TOOLS

BACKENDS = ("one", "two")
NAMES = ("a", "ab", "b", "x://a", "x://a/../b", "x://{t}")
READING = raw({"name": "a", "annotations": {"readOnlyHint": True}})
PLAIN = Raw(b'{"name":"a"}')

PATTERNS = st.builds(
    Pattern, st.sampled_from(["*", "a*", "?", "b", "x://*", "[ab]"]), st.sampled_from(["*", "one"])
)
FILTERS = st.builds(
    Filter,
    st.none() | st.lists(PATTERNS, max_size=2).map(tuple),
    st.lists(PATTERNS, max_size=2).map(tuple),
)
CHOSEN = st.none() | st.frozensets(st.sampled_from(BACKENDS))
RULES = st.builds(Rule, CHOSEN, FILTERS, FILTERS, FILTERS, st.booleans())
PER_BACKEND = st.dictionaries(st.sampled_from(BACKENDS), RULES, min_size=1).map(
    lambda rules: PerBackend(tuple(rules.items()))
)
SELECTIONS: st.SearchStrategy[Selection] = st.recursive(
    RULES | PER_BACKEND | st.just(EVERYTHING) | st.just(NOTHING),
    lambda inner: (
        st.lists(inner, max_size=3).map(intersection) | st.lists(inner, max_size=3).map(union)
    ),
    max_leaves=6,
)
CANDIDATES = st.builds(
    Candidate,
    st.sampled_from(BACKENDS),
    st.sampled_from(CATALOGUES),
    st.sampled_from(NAMES),
    st.sampled_from([PLAIN, READING, None]),
)


@given(SELECTIONS, SELECTIONS, CANDIDATES)
def test_selections_are_sets(one: Selection, two: Selection, item: Candidate):
    both, either = intersection([one, two]), union([one, two])
    assert both.covers(item) == (one.covers(item) and two.covers(item))
    assert either.covers(item) == (one.covers(item) or two.covers(item))
    assert intersection([one, EVERYTHING]) == one == union([one, NOTHING])
    assert intersection([one, NOTHING]) == NOTHING
    assert union([one, EVERYTHING]) == EVERYTHING


@given(SELECTIONS, CANDIDATES)
@example(
    Rule(resources=Filter(deny=(Pattern("*", "one"),))),
    Candidate("two", RESOURCES, "x://a/../b"),
)
def test_the_extent_tells_what_every_item_would(selection: Selection, item: Candidate):
    extent = selection.extent(item.backend, item.kind)
    if extent is Extent.NONE:
        assert not selection.covers(item)
    if extent is Extent.ALL:
        assert selection.covers(item)


@given(st.lists(st.integers(0, 3), max_size=4))
def test_equal_selections_are_one_key(order: list[int]):
    def build() -> Selection:
        parts = [Rule(frozenset({str(each)}), Filter((Pattern("a*"),))) for each in order]
        return union(intersection([part, Rule(read_only=True)]) for part in parts)

    assert build() == build()
    assert hash(build()) == hash(build())


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "item", "matches"),
    [
        ("get_*", ("github", "get_issue"), True),
        ("get_*", ("github", "forget_it"), False),
        ("get_*", ("github", "x/get_issue"), False),
        ("github/get_*", ("github", "get_issue"), True),
        ("github/get_*", ("gitlab", "get_issue"), False),
        ("git*/get_*", ("gitlab", "get_issue"), True),
        ("*/a/b", ("github", "a/b"), True),
        ("a/b", ("github", "a/b"), False),
        ("Get", ("github", "get"), False),
        ("[gs]et", ("github", "set"), True),
        ("a\n*", ("github", "a\nb"), True),
        ("a", ("github", "a\n"), False),
    ],
)
def test_a_pattern_is_about_servers_before_the_slash(
    pattern: str, item: tuple[str, str], *, matches: bool
):
    assert Pattern.parse(pattern).matches(*item) is matches


def test_what_is_denied_is_denied_whatever_is_allowed():
    names = Filter(allow=(Pattern("*"),), deny=(Pattern("b*"), Pattern("c", "two")))
    assert [name for name in ("a", "b", "ba", "c") if names.passes("one", name)] == ["a", "c"]
    assert [name for name in ("a", "b", "ba", "c") if names.passes("two", name)] == ["a"]
    assert not NONE.passes("one", "a")
    assert ALL.passes("one", "a")


# --- URIs ----------------------------------------------------------------------------------------

DOCS = Filter(allow=(Pattern("file:///docs/*"),))
NO_SECRETS = Filter(deny=(Pattern("file:///docs/secret*"), Pattern("note://Top%20Secret")))


@pytest.mark.parametrize(
    "uri",
    [
        "file:///docs/../etc/passwd",
        "file:///docs/..",
        "file:///docs/./a",
        "file:///docs/%2e%2e/etc/passwd",
        "file:///docs/%252E%252e/etc/passwd",
        "file:///docs/..%2f..%2fetc/passwd",
        "file:///docs/..%5c..%5cetc",
        "file:///docs/..\\etc",
        "file:///docs/a?x=../../etc",
        "file:///docs/..;a=b/etc",
        "file:///docs/%25252525252e",
        "file:///docs/" + "a" * 9000,
        "FILE:///docs/a",
        "file:///docsets/a",
        "x:file:///docs/a",
    ],
)
def test_what_may_lead_elsewhere_passes_no_filter(uri: str):
    assert not DOCS.passes_uri("one", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///docs/secret",
        "file:///docs/secret/plan",
        "FILE:///docs/SECRET",
        "file:///docs/%73ecret",
        "file:///docs/%2573ecret",
        "file:///docs//secret",
        "file:////docs/secret",
        "file:///docs/secret?plain",
        "file:///docs/secret#part",
        "file:///docs%2fsecret",
        "file:///docs\\secret",
        "note://top secret",
        "note://Top%20Secret?x",
        "note:Top%20Secret/../../x",
    ],
)
def test_what_is_denied_is_denied_in_every_spelling(uri: str):
    assert not NO_SECRETS.passes_uri("one", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///docs/a",
        "file:///docs/a%20b",
        "file:///docs/",
        "file:///docs/...",
        "file:///docs/{p}",
    ],
)
def test_other_uris_pass(uri: str):
    assert DOCS.passes_uri("one", uri)
    assert NO_SECRETS.passes_uri("one", uri)


def test_without_patterns_a_uri_is_the_backends_own_affair():
    assert ALL.passes_uri("one", "file:///docs/../x")


# --- scopes --------------------------------------------------------------------------------------

ARRANGEMENT = Arrangement(
    views={"desk": Endpoint(Rule(frozenset({"two"}), prompts=NONE))},
    tags={"web": frozenset({"one", "two"})},
)


def tools_of(scopes: str) -> list[str]:
    selection = selection_of(parse_scopes(scopes.split()), ARRANGEMENT)
    items = [
        Candidate(backend, TOOLS, name, definition)
        for backend in ("one", "two", "three")
        for name, definition in (("get", READING), ("put", PLAIN))
    ]
    return [f"{item.backend}/{item.name}" for item in items if selection.covers(item)]


ONE, TWO, THREE = ([f"{b}/{n}" for n in ("get", "put")] for b in ("one", "two", "three"))


@pytest.mark.parametrize(
    ("scopes", "tools"),
    [
        ("mcp", [*ONE, *TWO, *THREE]),
        ("mcp:read", [ONE[0], TWO[0], THREE[0]]),
        ("mcp:read backend:one", [*ONE, TWO[0], THREE[0]]),
        ("backend:one", ONE),
        ("backend:one:read", ONE[:1]),
        ("tag:web", [*ONE, *TWO]),
        ("view:desk", TWO),
        ("view:desk:read", TWO[:1]),
        ("tool:one/p*", ONE[1:]),
        ("tool:one/p*:read", []),
        ("backend:desk", TWO),
        ("backend:desk:read", TWO[:1]),
        ("tool:one/get tool:three/get", [ONE[0], THREE[0]]),
        ("", []),
        ("backend:", []),
        ("backend:*", []),
        ("tag:nope", []),
        ("view:nope", []),
        ("tool:one", []),
        ("tool:one/", []),
        ("tool:*/get", []),
        ("mcp:", []),
        ("mcp:write", []),
        ("MCP", []),
        ("openid profile", []),
    ],
)
def test_scopes_let_their_bearers_see_what_they_name(scopes: str, tools: list[str]):
    assert tools_of(scopes) == tools


@pytest.mark.parametrize(
    ("scope", "sees"),
    [
        ("mcp:read", lambda _: True),
        ("backend:two", lambda item: item.backend == "two"),
        ("view:desk", lambda item: item.backend == "two" and item.kind is not PROMPTS),
        ("tool:two/*", lambda _: False),
    ],
)
def test_scopes_of_backends_are_of_prompts_and_resources_too(
    scope: str, sees: Callable[[Candidate], bool]
):
    selection = selection_of(parse_scopes([scope]), ARRANGEMENT)
    for backend in BACKENDS:
        for kind in (PROMPTS, RESOURCES, TEMPLATES):
            item = Candidate(backend, kind, "x://a")
            assert selection.covers(item) == sees(item)


@pytest.mark.parametrize(
    "definition",
    [b"[]", b"{}", b'{"annotations":[]}', b'{"annotations":{"readOnlyHint":"true"}}', b'{"a":1}'],
)
def test_only_tools_that_say_so_change_nothing(definition: bytes):
    assert not Candidate("one", TOOLS, "a", Raw(definition)).is_read_only
