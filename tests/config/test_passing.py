"""What passes without jsonschema passes with it; nearly all that passes with it does without."""

import json

import pytest
from hypothesis import given, settings

from onemcp.config import schema
from onemcp.config._passing import ANNOTATIONS, RULES, passes
from onemcp.config._validation import _Validator
from tests.config.test_documents import subschemas
from tests.config.test_fuzz import documents

DOCUMENT = schema()
NODES = [node | {"$defs": DOCUMENT["$defs"]} for node in subschemas(DOCUMENT)]
NUMBERS = [None, False, True, -1, 0, 1, 1.0, 0.5, 10**9, 1e300, float("inf"), float("nan")]
TEXTS = ["", "a", "A_b.c-1", "a\n", "\0", "=", "https://x/y", "stdio", "info", "é", "x" * 5000]
LISTS = [[], ["a"], ["a", "b"], ["a", "a"], [1, True], [1, 1.0], [[], []], [{}, {}], ["a"] * 100]
OBJECTS = [
    {},
    {"a": 1},
    {"": "a"},
    {"=": "a"},
    {"command": "x"},
    {"url": "https://x/y"},
    {"command": "x", "url": "https://x/y"},
    {"command": "x", "args": ["a"]},
    {"url": "https://x/y", "args": ["a"]},
    {"mcpServers": {"a": {"command": "x"}}},
]
VALUES = [*NUMBERS, *TEXTS, *LISTS, *OBJECTS]


def test_every_keyword_is_known():
    used = {key for node in subschemas(DOCUMENT) for key in node}
    assert used <= ANNOTATIONS | RULES.keys() | {"$ref"}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_passes_is_valid(value):
    for node in NODES:
        assert not passes(value, node) or _Validator(node).is_valid(value)


def test_examples_and_defaults_pass():
    for node in NODES:
        for value in [*node.get("examples", ()), *([node["default"]] if "default" in node else ())]:
            assert passes(value, node), value


@settings(max_examples=25)
@given(documents)
def test_a_document_that_passes_is_valid(document):
    document = json.loads(json.dumps(document))
    assert not passes(document, DOCUMENT) or _Validator(DOCUMENT).is_valid(document)


@pytest.mark.parametrize(
    "rules", [{"const": 1}, {"oneOf": [{"type": "string"}, {"type": "string"}]}], ids=str
)
def test_what_is_not_known_is_left_to_jsonschema(rules):
    assert not passes({}, rules | {"$defs": {}})
