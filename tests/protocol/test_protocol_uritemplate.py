"""Matching URIs against templates: the examples of RFC 6570, and hostile templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.protocol import uritemplate
from onemcp.protocol.uritemplate import MAX_PARTS, MAX_URI, UriTemplate


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        # RFC 6570, 1.2, levels 1 to 4
        ("{var}", "value"),
        ("{hello}", "Hello%20World%21"),
        ("{+var}", "value"),
        ("{+hello}", "Hello%20World!"),
        ("{+path}/here", "/foo/bar/here"),
        ("here?ref={+path}", "here?ref=/foo/bar"),
        ("X{#var}", "X#value"),
        ("X{#hello}", "X#Hello%20World!"),
        ("map?{x,y}", "map?1024,768"),
        ("{x,hello,y}", "1024,Hello%20World%21,768"),
        ("{+x,hello,y}", "1024,Hello%20World!,768"),
        ("{+path,x}/here", "/foo/bar,1024/here"),
        ("{#x,hello,y}", "#1024,Hello%20World!,768"),
        ("{#path,x}/here", "#/foo/bar,1024/here"),
        ("X{.var}", "X.value"),
        ("X{.x,y}", "X.1024.768"),
        ("{/var}", "/value"),
        ("{/var,x}/here", "/value/1024/here"),
        ("{;x,y}", ";x=1024;y=768"),
        ("{;x,y,empty}", ";x=1024;y=768;empty"),
        ("{?x,y}", "?x=1024&y=768"),
        ("{?x,y,empty}", "?x=1024&y=768&empty="),
        ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
        ("{&x,y,empty}", "&x=1024&y=768&empty="),
        ("{var:3}", "val"),
        ("{var:30}", "value"),
        ("{list}", "red,green,blue"),
        ("{list*}", "red,green,blue"),
        ("{keys}", "semi,%3B,dot,.,comma,%2C"),
        ("{keys*}", "semi=%3B,dot=.,comma=%2C"),
        ("{+path:6}/here", "/foo/b/here"),
        ("{+keys}", "semi,;,dot,.,comma,,"),
        ("{+keys*}", "semi=;,dot=.,comma=,"),
        ("{#path:6}/here", "#/foo/b/here"),
        ("{#keys*}", "#semi=;,dot=.,comma=,"),
        ("X{.var:3}", "X.val"),
        ("X{.list*}", "X.red.green.blue"),
        ("X{.keys}", "X.semi,%3B,dot,.,comma,%2C"),
        ("{/var:1,var}", "/v/value"),
        ("{/list*,path:4}", "/red/green/blue/%2Ffoo"),
        ("{/keys*}", "/semi=%3B/dot=./comma=%2C"),
        ("{;hello:5}", ";hello=Hello"),
        ("{;list*}", ";list=red;list=green;list=blue"),
        ("{;keys*}", ";semi=%3B;dot=.;comma=%2C"),
        ("{?var:3}", "?var=val"),
        ("{?list*}", "?list=red&list=green&list=blue"),
        ("{&keys*}", "&semi=%3B&dot=.&comma=%2C"),
        # 2.4.2 and 3.2: undefined and empty values, several expressions
        ("find{?year*}", "find?year=1965&year=2000&year=2012"),
        ("www{.dom*}", "www.example.com"),
        ("O{empty}X", "OX"),
        ("O{undef}X", "OX"),
        ("X{#undef}", "X"),
        ("X{.empty_keys*}", "X"),
        ("X{.empty_keys}", "X"),
        ("{/var,empty}", "/value/"),
        ("{/var,undef}", "/value"),
        ("{;v,empty,who}", ";v=6;empty;who=fred"),
        ("{?x,y,undef}", "?x=1024&y=768"),
        ("{half}", "50%25"),
        ("{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex"),
        ("{+base}index", "http://example.com/home/index"),
        ("up{+path}{var}/here", "up/foo/barvalue/here"),
        ("{/who}{?q}{&r}{#f}", "/fred?q=1&r=2#end"),
        # what servers offer
        ("file:///{path}", "file:///readme.md"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("users://{user-id}/profile", "users://42/profile"),
        ("github://{owner}/{repo}/blob{/path*}", "github://o/r/blob/a/b/c"),
        ("db://{table}{?limit,offset}", "db://users"),
        ("plain://no/expression", "plain://no/expression"),
        ("open://{brace", "open://{brace"),
        ("", ""),
        ("{x}", ""),
    ],
)
def test_what_a_template_expands_to_matches(template, uri):
    assert UriTemplate(template).matches(uri)


@pytest.mark.requirement("server/resources#security-considerations-1")
@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///{path}", "file:///a/b"),
        ("file:///{path}", "file:///a?b"),
        ("file:///{path}", "file:///a#b"),
        ("file:///{path}", "http:///a"),
        ("users://{id}/profile", "users://42/settings"),
        ("users://{id}/profile", "users://42/profile/x"),
        ("users://{id}", "xusers://1"),
        ("{?x}", "x=1"),
        ("a{/b}", "ab"),
        ("a{/b}", "a/b?c"),
        ("a{?b}", "a?b=1#c"),
        ("a{.b}c", "a/xc"),
        ("a{#b}", "ab"),
        ("plain://x", "plain://y"),
        ("plain://x", "plain://xx"),
        ("open://{brace", "open://x"),
        ("close://}{a}", "close://x"),
        ("", "x"),
    ],
)
def test_other_uris_do_not_match(template, uri):
    assert not UriTemplate(template).matches(uri)


HOSTILE = [
    "".join(f"{{+v{n}}}" for n in range(200)),
    "".join(f"{{v{n}}}" for n in range(200)),
    "{+a}x" * 120,
    "{a}x" * 120,
    "{/a}{.b}{;c}{?d}{&e}{#f}" * 30,
    "{+a}" + "x" * 4000 + "{+b}",
    "{" * 50_000,
    "{}" * 128,
    "{+a}" * 100_000,
]


@pytest.mark.requirement("server/resources#security-considerations-1")
@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("unit", ["x", "/.", ";?&#", "é"])
def test_hostile_templates_come_to_an_end(template, unit):
    uri = (unit * MAX_URI)[: MAX_URI - 1] + "!"
    assert UriTemplate(template).matches(uri) in {True, False}


OPERATORS = {"": "/?#", "+": "", "#": "", ".": "/?#", "/": "?#", ";": "/?#", "?": "#", "&": "#"}


@given(
    st.sampled_from(sorted(OPERATORS)),
    st.text("ab/?#.;&\n", max_size=20),
    st.sets(st.integers(0, 20), min_size=1),
)
def test_an_expression_reaches_what_it_can_expand_to(operator, uri, starts):
    starts = {start for start in starts if start <= len(uri)}
    prefix = "" if operator == "+" else operator
    expected = {
        end
        for start in starts
        for end in range(start, len(uri) + 1)
        if end == start
        or (
            uri.startswith(prefix, start)
            and not set(uri[start + len(prefix) : end]) & set(OPERATORS[operator])
        )
    }
    assert uritemplate._expand(uritemplate._Expression(operator), uri, starts) == expected


def test_limits_are_exact():
    assert UriTemplate("{+a}").matches("x" * MAX_URI)
    assert not UriTemplate("{+a}").matches("x" * (MAX_URI + 1))
    assert UriTemplate("{+a}" * MAX_PARTS).matches("x")
    assert not UriTemplate("{+a}" * (MAX_PARTS + 1)).matches("x")


def test_repr_shows_the_template():
    assert repr(UriTemplate("a{b}")) == "UriTemplate('a{b}')"


@given(st.text("{}+#./;?&a,*:", max_size=40), st.text("{}+#./;?&a,", max_size=40))
def test_arbitrary_templates_match_or_not(template, uri):
    assert UriTemplate(template).matches(uri) in {True, False}


@given(
    st.lists(
        st.tuples(
            st.text("ab:/?=", max_size=5),
            st.sampled_from(["", "+", "#", ".", "/", ";", "?", "&"]),
            st.text("xyz%2F.~-_", min_size=1, max_size=5),
        ),
        max_size=6,
    )
)
def test_a_template_matches_what_it_was_expanded_to(pieces):
    first = {"#": "#", ".": ".", "/": "/", ";": ";v=", "?": "?v=", "&": "&v="}
    template = "".join(f"{literal}{{{operator}v}}" for literal, operator, _ in pieces)
    uri = "".join(
        f"{literal}{first.get(operator, '')}{value}" for literal, operator, value in pieces
    )
    assert UriTemplate(template).matches(uri)
