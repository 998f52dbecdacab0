"""The resources, the prompt, and the completion of their arguments."""

from __future__ import annotations

import pytest


def test_resources_can_be_read(peer):
    [resource] = peer.result("resources/list")["resources"]
    [content] = peer.result("resources/read", {"uri": resource["uri"]})["contents"]
    assert content["uri"] == "demo://welcome"
    assert content["mimeType"] == resource["mimeType"]
    assert len(content["text"].encode()) == resource["size"]


@pytest.mark.parametrize(
    ("name", "greeting"), [("Ada", "Hello, Ada!"), ("J%C3%BCrgen%2F2", "Hello, Jürgen/2!")]
)
def test_templates_can_be_filled_in(name, greeting, peer):
    [template] = peer.result("resources/templates/list")["resourceTemplates"]
    uri = template["uriTemplate"].replace("{name}", name)
    [content] = peer.result("resources/read", {"uri": uri})["contents"]
    assert (content["uri"], content["text"]) == (uri, greeting)


@pytest.mark.parametrize(
    "uri",
    [
        "demo://nothing",
        "demo://greeting/",
        "demo://greeting/a/b",
        "demo://greeting/a?b",
        "demo://greeting/%ff",
        "demo://greeting/" + "x" * 101,
        "",
    ],
)
def test_unknown_resources_are_told_in_the_words_of_the_era(uri, modern, legacy):
    assert modern.error("resources/read", {"uri": uri})["code"] == -32602
    error = legacy.error("resources/read", {"uri": uri})
    assert error["code"] == -32002
    assert error["data"] == {"uri": uri}


def test_uris_of_other_types_are_refused(peer):
    assert peer.error("resources/read", {"uri": 1})["code"] == -32602


def test_prompt_is_about_the_audience(peer):
    [prompt] = peer.result("prompts/list")["prompts"]
    [argument] = prompt["arguments"]
    params = {"name": prompt["name"], "arguments": {argument["name"]: "poets"}}
    [message] = peer.result("prompts/get", params)["messages"]
    assert "to poets." in message["content"]["text"]


@pytest.mark.parametrize(
    "params",
    [
        {"name": "no_such_prompt"},
        {"name": "introduce"},
        {"name": "introduce", "arguments": {}},
        {"name": "introduce", "arguments": {"audience": 1}},
        {"name": "introduce", "arguments": {"audience": "x", "more": "y"}},
        {"name": "introduce", "arguments": []},
    ],
)
def test_prompts_that_do_not_fit_are_refused(params, peer):
    assert peer.error("prompts/get", params)["code"] == -32602


@pytest.mark.parametrize(
    ("ref", "argument", "value", "expected"),
    [
        ({"type": "ref/prompt", "name": "introduce"}, "audience", "DEV", ["developers"]),
        ({"type": "ref/prompt", "name": "introduce"}, "audience", "x", []),
        ({"type": "ref/resource", "uri": "demo://greeting/{name}"}, "name", "a", ["Ada", "Alan"]),
    ],
)
def test_arguments_are_completed(ref, argument, value, expected, peer):
    params = {"ref": ref, "argument": {"name": argument, "value": value}}
    assert peer.result("completion/complete", params)["completion"] == {
        "values": expected,
        "total": len(expected),
        "hasMore": False,
    }


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": {"type": "ref/prompt", "name": "introduce"}},
        {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/other"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/prompt", "name": "introduce"}, "argument": {"name": "audience"}},
    ],
)
def test_completions_of_nothing_are_refused(params, peer):
    assert peer.error("completion/complete", params)["code"] == -32602
