"""What is shipped beside the code: the schema, the reference and the examples."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from onemcp.config import load, schema
from onemcp.config._json import read
from onemcp.config._reference import render
from onemcp.config._validation import TRANSLATIONS
from onemcp.config._words import type_of

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "configs").glob("*.json"))
STRUCTURE = {
    "$schema",
    "$ref",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "properties",
    "items",
    "propertyNames",
    "patternErrorMessage",
}


def subschemas(node):
    """Yield every schema within `node`, itself first."""
    yield node
    for key in ("properties", "$defs"):
        for inner in node.get(key, {}).values():
            yield from subschemas(inner)
    for key in ("items", "propertyNames", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from subschemas(node[key])


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(schema())


def test_every_rule_of_the_schema_has_words():
    keywords = {key for node in subschemas(schema()) for key in node}
    assert keywords - STRUCTURE <= set(TRANSLATIONS)
    for node in subschemas(schema()):
        assert ("pattern" in node) == ("patternErrorMessage" in node)


def test_every_option_is_described():
    document = schema()
    for node in [document, *document["$defs"].values()]:
        for name, option in node.get("properties", {}).items():
            target = document["$defs"].get(option.get("$ref", "").removeprefix("#/$defs/"), {})
            assert "description" in option | target, name


def test_defaults_and_examples_obey_the_schema():
    document = schema()
    for node in subschemas(document):
        for value in [*node.get("examples", ()), *([node["default"]] if "default" in node else ())]:
            Draft202012Validator({**node, "$defs": document["$defs"]}).validate(value)


def test_a_caller_cannot_spoil_the_schema():
    schema().clear()
    assert schema()


def test_the_reference_is_up_to_date():
    written = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    assert written == render(schema()), "run python -m onemcp.config._reference, see there"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load(path):
    environ = {}
    for name in ("HOME", "GITHUB_TOKEN", "TICKETS_TOKEN", "DATABASE_URL", "REMOTE_KEY"):
        environ[name] = f"made-up-{name}"
    assert load(path, environ=environ).backends


def test_there_are_examples_for_every_kind_of_user():
    assert [path.stem for path in EXAMPLES] == ["every-backend", "laptop", "team-server"]


def test_every_backend_uses_every_option():
    text = (ROOT / "configs/every-backend.json").read_text(encoding="utf-8")
    document = read(text)[0].plain()
    used = {key for entry in document["mcpServers"].values() for key in entry}
    assert used == set(schema()["$defs"]["backend"]["properties"])


def test_only_json_has_a_json_type():
    with pytest.raises(TypeError, match="set"):
        type_of(set())
