"""What servers ask of whoever calls them from a shell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from onemcp.cli import forms
from onemcp.cli.asking import Asker
from onemcp.cli.failures import Failure
from tests.control.conftest import DEMO, Shell
from tests.crossfire.test_crossfire import talker

QUESTION = {
    "mode": "form",
    "message": "Who are\x1b[2J you?",
    "requestedSchema": {
        "type": "object",
        "required": ["name", "age", "colour", "spam"],
        "properties": {
            "name": {"type": "string", "title": "Your name", "minLength": 3},
            "age": {"type": "integer", "minimum": 18, "description": "In years"},
            "colour": {
                "type": "string",
                "oneOf": [{"const": "#f00", "title": "Red"}, {"const": "#00f", "title": "Blue"}],
                "default": "#f00",
            },
            "spam": {"type": "boolean", "default": False},
            "fruit": {"type": "array", "items": {"enum": ["apple", "pear"]}},
            "weight": {"type": "number"},
            "mail": {"type": "string", "enum": ["a", "b"], "enumNames": ["Ada", "Bob"]},
        },
    },
}


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "is_interactive", lambda: True)


def answered(question: dict[str, Any], *typed: str, method: str = "elicitation/create") -> Any:
    """Return the answer to a question, and what was said on stderr."""
    with CliRunner().isolation("".join(f"{line}\n" for line in typed)) as (_, err, _):
        answer = forms.answer("demo__tool", method, question)
        return answer, err.getvalue().decode()


@pytest.mark.usefixtures("somebody")
def test_a_form_is_filled_in_field_by_field_until_all_of_them_fit():
    wrong = ["Jo", "Joan", "x", "17", "42"]
    typed = [*wrong, "Blue", "maybe", "yes", "plum", "apple, pear", "heavy", "2.5", "Bob", "send"]
    answer, said = answered(QUESTION, *typed)
    assert answer == {
        "action": "accept",
        "content": {
            "name": "Joan",
            "age": 42,
            "colour": "#00f",
            "spam": True,
            "fruit": ["apple", "pear"],
            "weight": 2.5,
            "mail": "b",
        },
    }
    assert said.startswith("demo__tool asks: Who are\\x1b[2J you?\n")
    for hint in ("too short", "less than the minimum", "type integer", "Red", "In years"):
        assert hint in said
    assert '"age": 42' in said


@pytest.mark.usefixtures("somebody")
def test_what_may_be_left_out_is_and_answers_may_be_changed_before_they_are_sent():
    first = ["Joan", "42", "", "", "", "", ""]
    again = ["Jane", "", "", "", "", "", ""]
    answer, _ = answered(QUESTION, *first, "change", *again, "send")
    content = {"name": "Jane", "age": 42, "colour": "#f00", "spam": False}
    assert answer == {"action": "accept", "content": content}
    assert answered(QUESTION, *first, "decline")[0] == {"action": "decline"}
    assert answered(QUESTION, "Joan")[0] == {"action": "cancel"}


@pytest.mark.usefixtures("somebody")
def test_a_person_is_shown_where_a_link_leads_before_anything_else():
    question = {"mode": "url", "message": "Log in", "url": "https://good.example/a?b\x07"}
    answer, said = answered(question, "y")
    assert answer == {"action": "accept"}
    assert "go to good.example, with a browser:\n  https://good.example/a?b\\x07" in said
    assert answered(question, "n")[0] == {"action": "decline"}


@pytest.mark.usefixtures("somebody")
def test_a_form_that_is_none_and_a_question_for_a_model_are_refused():
    with pytest.raises(Failure, match="a form that is none"):
        answered({"requestedSchema": {"properties": {"x": {"type": 7}}}})
    answer, said = answered({"messages": []}, method="sampling/createMessage")
    assert answer == {"action": "decline"}
    assert "Declined" in said


# --- in the course of a call --------------------------------------------------------------------


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_call_from_a_shell_answers_what_is_asked_or_declines_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, era: str
):
    shell.world.write({"demo": DEMO, "it": talker(era, "it")})
    await shell.world.post("/reload")
    await shell.world.gateway.multiplexer.backends["it"].wait_ready()
    code, out, err = await shell.run("call", "it__ask", "words=hello")
    assert (code, out) == (0, "hello heard None\n")
    assert err == "it__ask asks: hello\nDeclined: there is nobody to answer.\n"

    lines: Iterator[str] = iter(["Ada", "send"])
    monkeypatch.setattr(forms, "is_interactive", lambda: True)
    monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _: next(lines))
    code, out, err = await shell.run("call", "it__ask", "words=hello")
    assert (code, out) == (0, "hello heard Ada\n")
    assert "it__ask asks: hello" in err


class Scripted:
    """Answers requests as a test says, in order."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        assert (path, headers["mcp-method"]) == ("/mcp", "tools/call")
        self.bodies.append(json.loads(body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return httpx.Response(200, json={"id": self.bodies[-1]["id"], **answer})


def test_a_request_goes_on_with_what_the_server_wants_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onemcp.cli.asking.PAUSE", 0.0)
    asked = {"q": {"method": "elicitation/create", "params": {"message": "?"}}}
    required = {"resultType": "input_required", "inputRequests": asked, "requestState": "s"}
    later = {"resultType": "input_required", "requestState": "t"}
    done = {"content": []}
    running = Scripted({"result": required}, {"result": later}, {"result": done})
    asker = Asker(running, answer=lambda *_: {"action": "accept"})  # type: ignore[arg-type]
    assert asker.ask("tools/call", {"name": "x"}) == done
    told = [
        {k: each["params"].get(k) for k in ("inputResponses", "requestState")}
        for each in running.bodies
    ]
    assert told == [
        {"inputResponses": None, "requestState": None},
        {"inputResponses": {"q": {"action": "accept"}}, "requestState": "s"},
        {"inputResponses": None, "requestState": "t"},
    ]
    with pytest.raises(Failure, match="asks again"):
        Asker(Scripted({"result": later})).ask("tools/call", {"name": "x"})  # type: ignore[arg-type]


def test_who_needs_a_model_is_told_to_use_another_client():
    refused = Scripted({"error": {"code": -32021, "message": "sampling is needed"}})
    with pytest.raises(Failure, match=r"sampling is needed \(-32021\). The server asks its client"):
        Asker(refused).ask("tools/call", {"name": "x"})  # type: ignore[arg-type]
