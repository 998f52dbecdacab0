"""One member more or less in a document; all else of the text stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onemcp.config import NotAnObject, insert_member, plain_json, remove_member

COMMENTED = """\
{
  // mine
  "other": [1, 2], /* kept */
  "mcpServers": {
    "a": {"command": "x"}, // the first
    "b": {"command": "y"},
  },
}
"""


def test_a_member_is_added_in_the_style_of_its_neighbours_and_comments_stay():
    new = insert_member(COMMENTED, ["mcpServers"], "c", {"command": "z"})
    assert new == COMMENTED.replace(
        '"b": {"command": "y"},', '"b": {"command": "y"},\n    "c": {\n      "command": "z"\n    },'
    )
    assert remove_member(new, ["mcpServers"], "c") == COMMENTED


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("{}", [], '{\n  "k": 1\n}'),
        ("{}\n", ["a", "b"], '{\n  "a": {\n    "b": {\n      "k": 1\n    }\n  }\n}\n'),
        ('{"a": {}}', ["a"], '{"a": {\n    "k": 1\n  }}'),
        ('{"x": 1}', ["a"], '{"x": 1,\n  "a": {\n    "k": 1\n  }}'),
    ],
)
def test_objects_that_are_missing_are_made(text, path, expected):
    assert insert_member(text, path, "k", 1) == expected


def test_the_first_the_last_and_the_only_member_can_be_removed():
    text = '{"s": {"a": 1, "b": 2, "c": 3}}'
    assert remove_member(text, ["s"], "a") == '{"s": {"b": 2, "c": 3}}'
    assert remove_member(text, ["s"], "b") == '{"s": {"a": 1, "c": 3}}'
    assert remove_member(text, ["s"], "c") == '{"s": {"a": 1, "b": 2}}'
    assert remove_member('{"s": {"a": 1}}', ["s"], "a") == '{"s": {}}'


def test_what_can_not_be_is_refused():
    for path, key in (
        (["other"], "x"),
        (["mcpServers"], "a"),
        (["mcpServers", "a", "command"], "x"),
    ):
        with pytest.raises(NotAnObject):
            insert_member(COMMENTED, path, key, 1)
    for path, key in ((["mcpServers"], "z"), (["nothing"], "a"), (["other"], "a")):
        with pytest.raises(NotAnObject):
            remove_member(COMMENTED, path, key)
    with pytest.raises(ValueError, match="follow"):
        insert_member("{", [], "a", 1)


KEYS = st.sampled_from(["a", "b", "c", 'd"', "\n"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda each: st.dictionaries(KEYS, each), max_leaves=5
)


@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES)), KEYS, VALUES, st.sampled_from([None, 2])
)
@example({}, "a", "\x85", None)  # a line break to `str.splitlines`, and to nobody else
def test_what_was_added_is_there_and_what_was_removed_is_as_before(document, where, value, indent):
    text = json.dumps(document, indent=indent)
    added = insert_member(text, [where], "new", value)
    wanted = {**document, where: {**document.get(where, {}), "new": value}}
    assert plain_json(added) == wanted
    removed = plain_json(remove_member(added, [where], "new"))
    assert removed == {**document, where: document.get(where, {})}
