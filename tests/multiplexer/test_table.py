"""The routing table: names, owners, conflicts, and that routing and listing agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.backend.catalogue import NOTHING, Item, Listing
from onemcp.multiplexer.table import Conflict, Route, Source, build
from onemcp.protocol.fields import split, text
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.methods import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Catalogue
from tests.multiplexer.fakes import decoded

NAMES = st.text(st.sampled_from("ab_é."), min_size=1, max_size=4)
SOURCES = st.lists(
    st.tuples(st.sampled_from(["", "a__", "a__a__", "b__", "é-"]), st.lists(NAMES, unique=True)),
    max_size=4,
)


def item(kind: Catalogue, identity: str) -> Item:
    definition = b'{"%b" : "%b"}' % (kind.identity.encode(), identity.encode())
    return Item(identity, Raw(definition))


def source(name: str, prefix: str = "", **listed: list[str]) -> Source:
    listings = dict(NOTHING)
    for kind in (TOOLS, PROMPTS, RESOURCES, TEMPLATES):
        listings[kind] = Listing(tuple(item(kind, each) for each in listed.get(kind.key, [])))
    return Source(name, prefix, listings)


def names(kind: Catalogue, *sources: Source) -> list[str]:
    definitions = build(sources).sections[kind].definitions
    return [decoded(each)[kind.identity] for each in definitions]


@pytest.mark.requirement("server/tools#tool-names-6", "server/tools#tool-names-7")
def test_tools_and_prompts_get_the_prefix_and_uris_stay_as_they_are():
    table = build(
        [
            source(
                "a",
                "a__",
                tools=["t"],
                prompts=["p"],
                resources=["x://r"],
                resourceTemplates=["x://{t}"],
            )
        ]
    )
    assert list(table.sections[TOOLS].routes) == ["a__t"]
    assert list(table.sections[PROMPTS].routes) == ["a__p"]
    assert list(table.sections[RESOURCES].routes) == ["x://r"]
    assert list(table.sections[TEMPLATES].routes) == ["x://{t}"]
    assert table.route(TOOLS, "a__t") == Route("a", "t")
    assert table.route(TOOLS, "t") is None


@pytest.mark.requirement(
    "server/prompts#capabilities-2",
    "server/resources#capabilities-2",
    "server/tools#capabilities-2",
    "server/tools#capabilities-4",
)
def test_lists_are_in_configuration_order_then_in_the_backends_own():
    first, second = source("b", "b__", tools=["z", "a"]), source("a", "", tools=["m", "c"])
    assert names(TOOLS, first, second) == ["b__z", "b__a", "m", "c"]


@pytest.mark.requirement("server/tools#tool-names-2")
def test_names_are_told_apart_by_their_case():
    table = build([source("a", "a__", tools=["t", "T"])])
    assert not table.conflicts
    assert [table.route(TOOLS, name) for name in ("a__T", "A__t")] == [Route("a", "T"), None]


def test_only_the_name_of_a_definition_changes():
    definition = (
        rb'{"name":"t","description":"caf\u00e9 \ud83d\ude00","inputSchema":{"a": 1.0e2,"a":[ ]},'
        rb'"_meta":{ "x":9007199254740993 },"name2":"t","unheardOf":null}'
    )
    listings = {**NOTHING, TOOLS: Listing((Item("t", Raw(definition)),))}
    (exposed,) = build([Source("a", "é__", listings)]).sections[TOOLS].definitions
    assert bytes(exposed) == definition.replace(b'"name":"t"', '"name":"é__t"'.encode())
    (bare,) = build([Source("a", "", listings)]).sections[TOOLS].definitions
    assert bytes(bare) == definition


@pytest.mark.requirement("basic/index#meta-14", "server/tools#tool-names-5")
def test_the_first_in_configuration_order_wins_and_every_conflict_is_reported():
    sources = [source(name, "", tools=["t", name], resources=["x://r"]) for name in "abc"]
    table = build(sources)
    assert table.route(TOOLS, "t") == Route("a", "t")
    assert table.owners("x://r") == ["a"]
    assert set(table.conflicts) == {
        Conflict("tools", "t", "a", "b"),
        Conflict("tools", "t", "a", "c"),
        Conflict("resources", "x://r", "a", "b"),
        Conflict("resources", "x://r", "a", "c"),
    }
    assert names(TOOLS, *sources) == ["t", "a", "b", "c"]


@pytest.mark.requirement("server/tools#tool-names-5")
def test_names_that_only_look_alike_with_their_prefixes_are_conflicts_too():
    table = build([source("a", "a__", tools=["b__t"]), source("b", "a__b__", tools=["t"])])
    assert table.conflicts == (Conflict("tools", "a__b__t", "a", "b"),)
    assert table.route(TOOLS, "a__b__t") == Route("a", "b__t")


def test_an_exact_uri_goes_before_a_template_whatever_the_order():
    table = build(
        [
            source("a", resourceTemplates=["file:///{+path}"]),
            source("b", resources=["file:///x"]),
        ]
    )
    assert table.owners("file:///x") == ["b"]
    assert table.owners("file:///y") == ["a"]
    assert table.owners("http://y") == []


def test_a_template_itself_belongs_to_the_one_that_lists_it():
    table = build(
        [
            source("a", resourceTemplates=["x://{+any}"]),
            source("b", resourceTemplates=["x://{id}"]),
        ]
    )
    assert table.owners("x://{id}") == ["b"]


def test_all_owners_of_matching_templates_are_found_once_each_in_order():
    table = build(
        [
            source("a", resourceTemplates=["x://{id}", "x://{+id}"]),
            source("b", resourceTemplates=["{scheme}://{id}"]),
        ]
    )
    assert table.owners("x://1") == ["a", "b"]


def test_the_same_template_of_several_backends_is_a_conflict_but_each_may_own_what_matches():
    table = build(
        [source(name, resourceTemplates=["file:///{+path}"]) for name in ("home", "work")]
    )
    assert table.conflicts == (Conflict("resourceTemplates", "file:///{+path}", "home", "work"),)
    assert table.owners("file:///x") == ["home", "work"]
    assert table.owners("file:///{+path}") == ["home"]


def test_mirrored_parameters_stay_with_the_exposed_name():
    mirrored = (MirroredParameter(("region",), "Region"),)
    listings = {**NOTHING, TOOLS: Listing((Item("t", Raw(b'{"name":"t"}'), mirrored),))}
    table = build([Source("a", "a__", listings)])
    assert table.route(TOOLS, "a__t") == Route("a", "t", mirrored)


def hinted(name: str, ttl: int | None, *, public: bool, known: bool = True, count: int = 1):
    items = tuple(item(TOOLS, f"{name}{number}") for number in range(count))
    return Source(name, "", {**NOTHING, TOOLS: Listing(items, ttl, public)}, known)


def test_a_list_is_fresh_as_long_as_its_shortest_part():
    section = build([hinted("a", 500, public=True), hinted("b", 200, public=True)]).sections[TOOLS]
    assert (section.ttl_ms, section.is_public) == (200, True)


@pytest.mark.requirement(
    "server/utilities/caching#time-to-live-ttl-field-3",
    "server/utilities/caching#security-considerations-1",
)
def test_a_part_that_says_nothing_is_stale_and_private():
    section = build([hinted("a", 500, public=True), hinted("b", None, public=False)])
    assert section.sections[TOOLS].ttl_ms == 0
    assert not section.sections[TOOLS].is_public


def test_an_empty_part_counts_where_it_has_hints_because_it_may_fill_up():
    section = build([hinted("a", 500, public=True), hinted("b", 100, public=False, count=0)])
    assert section.sections[TOOLS].ttl_ms == 100
    assert not section.sections[TOOLS].is_public
    without = build([hinted("a", 500, public=True), hinted("b", None, public=False, count=0)])
    assert (without.sections[TOOLS].ttl_ms, without.sections[TOOLS].is_public) == (500, True)


def test_nothing_is_fresh_while_a_backend_has_yet_to_list_anything():
    coming = hinted("b", None, public=False, known=False, count=0)
    assert build([hinted("a", 500, public=True), coming]).sections[TOOLS].ttl_ms == 0


def test_no_backends_list_nothing_for_no_time():
    section = build([]).sections[TOOLS]
    assert (section.definitions, section.ttl_ms, section.is_public) == ((), 0, False)


@pytest.mark.requirement("server/tools#capabilities-2")
@given(SOURCES)
def test_what_is_listed_is_what_can_be_called(described: list[tuple[str, list[str]]]):
    sources = [
        source(str(number), prefix, tools=tools) for number, (prefix, tools) in enumerate(described)
    ]
    table = build(sources)
    section = table.sections[TOOLS]
    listed = [text(split(each), "name", "name") for each in section.definitions]
    assert listed == list(section.routes)
    for exposed in listed:
        route = table.route(TOOLS, exposed)
        assert route is not None
        owner = sources[int(route.backend)]
        assert owner.prefix + route.name == exposed
        assert route.name in [each.identity for each in owner.listings[TOOLS].items]
    everything = sum(len(tools) for _, tools in described)
    assert len(listed) + len(table.conflicts) == everything
    for conflict in table.conflicts:
        assert section.routes[conflict.name].backend == conflict.winner
        assert int(conflict.winner) < int(conflict.loser)
