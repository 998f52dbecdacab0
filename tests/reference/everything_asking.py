"""Tools that ask the client: elicitation, sampling, roots, in one round or more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mcp_types as types
from everything_call import Call, content_of, form, sample, strings, text, tool

if TYPE_CHECKING:
    from everything_call import Answer, Outcome, Question

NAME_SCHEMA = strings("name")
CONFIRM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
}
USER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
DEFAULTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {
            "type": "string",
            "description": "User status",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    },
    "required": [],
}


def _titled(noun: str) -> list[dict[str, str]]:
    return [
        {"const": f"value{number}", "title": f"{ordinal} {noun}"}
        for number, ordinal in enumerate(("First", "Second", "Third"), start=1)
    ]


OPTIONS = ["option1", "option2", "option3"]
ENUMS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {"type": "string", "oneOf": _titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled("Choice")}},
    },
    "required": [],
}


def _spoken(answer: Answer) -> str:
    """Return the text of a sampled message."""
    content = getattr(answer, "content", None)
    return content.text if isinstance(content, types.TextContent) else "No response"


def _described(answer: Answer) -> str:
    action = answer.action if isinstance(answer, types.ElicitResult) else "none"
    return f"action={action}, content={json.dumps(content_of(answer), separators=(',', ':'))}"


async def _ask_one(call: Call, key: str, question: Question) -> Answer | types.InputRequiredResult:
    asked = await call.ask({key: question})
    return asked if isinstance(asked, types.InputRequiredResult) else asked[key]


async def _sampling(call: Call) -> Outcome:
    answer = await _ask_one(call, "completion", sample(str(call.arguments.get("prompt", ""))))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"LLM response: {_spoken(answer)}"


async def _elicitation(call: Call) -> Outcome:
    question = form(str(call.arguments.get("message", "")), USER_SCHEMA)
    answer = await _ask_one(call, "user", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"User response: {_described(answer)}"


async def _defaults(call: Call) -> Outcome:
    answer = await _ask_one(call, "user", form("Please review your details", DEFAULTS_SCHEMA))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"Elicitation completed: {_described(answer)}"


async def _enums(call: Call) -> Outcome:
    answer = await _ask_one(call, "choices", form("Please choose", ENUMS_SCHEMA))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"Elicitation completed: {_described(answer)}"


async def _streaming_elicitation(call: Call) -> Outcome:
    await call.ctx.session.report_progress(50, 100, "About to ask")
    answer = await _ask_one(call, "user_name", form("What is your name?", NAME_SCHEMA))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"Streaming complete: {_described(answer)}"


async def _ir_elicitation(call: Call) -> Outcome:
    answer = await _ask_one(call, "user_name", form("What is your name?", NAME_SCHEMA))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"Hello, {content_of(answer).get('name', 'stranger')}!"


async def _ir_sampling(call: Call) -> Outcome:
    question = sample("What is the capital of France?")
    answer = await _ask_one(call, "capital_question", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return f"Model said: {_spoken(answer)}"


async def _ir_list_roots(call: Call) -> Outcome:
    answer = await _ask_one(call, "client_roots", types.ListRootsRequest())
    if isinstance(answer, types.InputRequiredResult):
        return answer
    roots = answer.roots if isinstance(answer, types.ListRootsResult) else []
    return f"Client roots: {', '.join(str(root.uri) for root in roots)}"


async def _ir_request_state(call: Call) -> Outcome:
    questions = {"confirm": form("Please confirm", CONFIRM_SCHEMA)}
    asked = await call.ask(questions, state="request-state-nonce")
    if isinstance(asked, types.InputRequiredResult):
        return asked
    return f"state-ok: {_described(asked['confirm'])}"


async def _ir_multiple_inputs(call: Call) -> Outcome:
    asked = await call.ask(
        {
            "user_name": form("What is your name?", NAME_SCHEMA),
            "greeting": sample("Generate a greeting", 50),
            "client_roots": types.ListRootsRequest(),
        },
        state="multiple-inputs",
    )
    if isinstance(asked, types.InputRequiredResult):
        return asked
    name = content_of(asked["user_name"]).get("name", "stranger")
    return f"{_spoken(asked['greeting'])} to {name}"


async def _ir_multi_round(call: Call) -> Outcome:
    # The state says which round this is: none, then "step-1", then the name from step 1.
    name = call.state.partition(":")[2] if call.state and call.state.startswith("step-2:") else None
    if name is None:
        first = await call.ask(
            {"step1": form("Step 1: What is your name?", NAME_SCHEMA)}, state="step-1"
        )
        if isinstance(first, types.InputRequiredResult):
            return first
        name = content_of(first["step1"]).get("name", "stranger")
    second = await call.ask(
        {"step2": form("Step 2: What is your favorite color?", strings("color"))},
        state=f"step-2:{name}",
    )
    if isinstance(second, types.InputRequiredResult):
        return second
    return f"{name} likes {content_of(second['step2']).get('color', 'nothing')}."


async def _ir_tampered_state(call: Call) -> Outcome:
    # The SDK seals the state and refuses one that was changed before it comes here.
    asked = await call.ask({"confirm": form("Please confirm", CONFIRM_SCHEMA)}, state="sealed")
    if isinstance(asked, types.InputRequiredResult):
        return asked
    return "state-ok: sealed"


async def _ir_capabilities(call: Call) -> Outcome:
    questions: dict[str, Question] = {}
    if call.capabilities.sampling is not None:
        questions["sample"] = sample("Say hello", 50)
    if call.capabilities.elicitation is not None:
        questions["ask"] = form("What is your name?", NAME_SCHEMA)
    if not questions:
        return "The client can be asked nothing"
    asked = await call.ask(questions, state="capabilities")
    if isinstance(asked, types.InputRequiredResult):
        return asked
    return f"Answered: {', '.join(sorted(asked))}"


async def input_required_prompt(call: Call) -> types.GetPromptResult | types.InputRequiredResult:
    question = form("What context should the prompt use?", strings("context"))
    answer = await _ask_one(call, "user_context", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    context = content_of(answer).get("context", "none")
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=text(f"Use this context: {context}"))]
    )


_PREFIX = "test_input_required_result_"
ASKING_TOOLS = (
    tool("test_sampling", "Asks the client's model", _sampling, schema=strings("prompt")),
    tool("test_elicitation", "Asks the user", _elicitation, schema=strings("message")),
    tool("test_elicitation_sep1034_defaults", "Asks with default values", _defaults),
    tool("test_elicitation_sep1330_enums", "Asks with every kind of enumeration", _enums),
    tool("test_streaming_elicitation", "Reports progress, then asks", _streaming_elicitation),
    tool(f"{_PREFIX}elicitation", "Asks for a name", _ir_elicitation),
    tool(f"{_PREFIX}sampling", "Asks the client's model for a capital", _ir_sampling),
    tool(f"{_PREFIX}list_roots", "Asks for the client's roots", _ir_list_roots),
    tool(f"{_PREFIX}request_state", "Asks with a request state", _ir_request_state),
    tool(f"{_PREFIX}multiple_inputs", "Asks for three things at once", _ir_multiple_inputs),
    tool(f"{_PREFIX}multi_round", "Asks twice in a row", _ir_multi_round),
    tool(f"{_PREFIX}tampered_state", "Asks with a sealed request state", _ir_tampered_state),
    tool(f"{_PREFIX}capabilities", "Asks only what the client can answer", _ir_capabilities),
)
