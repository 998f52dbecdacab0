"""The backends, and what every client is to do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.interop.jobs import Era, Step

Fixture = Literal["reference", "server2", "own", "everything", "filesystem", "memory"]
UNKNOWN = "no-such-thing"
UNLIKE_ONEMCP = {
    UNKNOWN,  # in its own words
    "test_streaming_elicitation",  # reports the same progress again when the call is made again
}
"""What the TypeScript SDK 2.x does differently where it bridges the eras itself."""


@dataclass(frozen=True)
class BackendKind:
    """A backend.

    Attributes:
        name: Its key in the configuration.
        fixture: The server.
        transport: How onemcp talks to it.
        era: The era that onemcp talks to it in.
        pinned: Whether it speaks both, and is told to use that one.
    """

    name: str
    fixture: Fixture
    transport: Literal["stdio", "http", "sse"]
    era: Era
    pinned: bool = False

    @property
    def prefix(self) -> str:
        return f"{self.name}__"


BACKENDS = (
    BackendKind("everything", "everything", "stdio", "legacy"),
    BackendKind("everythinghttp", "everything", "http", "legacy"),
    BackendKind("everythingsse", "everything", "sse", "legacy"),
    BackendKind("filesystem", "filesystem", "stdio", "legacy"),
    BackendKind("memory", "memory", "stdio", "legacy"),
    BackendKind("ref", "reference", "stdio", "modern"),
    BackendKind("refhttp", "reference", "http", "modern"),
    BackendKind("reflegacy", "reference", "stdio", "legacy", pinned=True),
    BackendKind("refhttplegacy", "reference", "http", "legacy", pinned=True),
    BackendKind("server2", "server2", "stdio", "modern"),
    BackendKind("own", "own", "stdio", "modern"),
    BackendKind("ownhttp", "own", "http", "modern"),
)
KINDS = ("tools", "prompts", "resources", "templates")


def call(name: str, /, **arguments: Any) -> Step:
    return {"op": "call", "name": name, "arguments": arguments}


def read(uri: str) -> Step:
    return {"op": "read", "uri": uri}


def prompt(name: str, /, **arguments: str) -> Step:
    return {"op": "prompt", "name": name, "arguments": arguments}


def complete(ref: dict[str, str], name: str, value: str, **context: str) -> Step:
    step: Step = {"op": "complete", "ref": ref, "argument": {"name": name, "value": value}}
    return step | ({"context": {"arguments": context}} if context else {})


def of_prompt(name: str) -> dict[str, str]:
    return {"type": "ref/prompt", "name": name}


def of_template(uri: str) -> dict[str, str]:
    return {"type": "ref/resource", "uri": uri}


def logged(name: str, era: Era, level: str) -> list[Step]:
    """Call a tool that logs, with a level that is set as the era has it."""
    if era == "modern":
        return [{**call(name), "level": level}]
    return [{"op": "level", "level": level}, call(name)]


def prefixed(step: Step, prefix: str) -> Step:
    """Return a step as it is where names have a prefix."""
    step = dict(step)
    if "name" in step:
        step["name"] = prefix + step["name"]
    if "name" in step.get("ref", {}):
        step["ref"] = {**step["ref"], "name": prefix + step["ref"]["name"]}
    if "call" in step:
        step["call"] = prefixed(step["call"], prefix)
    for key in step.keys() & {"contains", "lacks"}:
        step[key] = prefix + step[key]
    return step


def lists() -> list[Step]:
    return [{"op": "list", "kind": kind} for kind in KINDS]


def steps_for(fixture: Fixture, era: Era, folder: str, *, questions: bool) -> list[Step]:
    """Return what to do with a backend.

    Args:
        fixture: The server.
        era: The era of the client.
        folder: A folder that the filesystem server may use.
        questions: Whether to use tools that ask the client.
    """
    match fixture:
        case "everything":
            return _everything(era, questions=questions)
        case "filesystem":
            return _filesystem(folder)
        case "memory":
            return _memory()
        case "server2":
            steps = _reference(era, questions=questions)
            return [step for step in steps if step.get("name") not in UNLIKE_ONEMCP]
        case "reference":
            return _reference(era, questions=questions)
        case "own":
            return _own(questions=questions)


def _everything(era: Era, *, questions: bool) -> list[Step]:
    steps = [
        call("echo", message="Grüße, 你好 \U0001f389"),
        call("get-sum", a=1.5, b=2),
        call("get-sum", a="nonsense"),
        call("get-tiny-image"),
        call("get-annotated-message", messageType="error", includeImage=True),
        call("get-resource-links", count=3),
        call("get-structured-content", location="Chicago"),
        # It asks for the roots of each new client. A modern one answers in a round of its own, and
        # what is reported until then is lost.
        *[call("trigger-long-running-operation", duration=0.15, steps=3)][era == "modern" :],
        read("demo://resource/static/document/features.md"),
        prompt("simple-prompt"),
        prompt("args-prompt", city="Paris", state="Texas"),
        complete(of_prompt("completable-prompt"), "department", "S"),
        complete(of_prompt("completable-prompt"), "name", "", department="Sales"),
        complete(of_template("demo://resource/dynamic/text/{resourceId}"), "resourceId", "7"),
    ]
    if questions:
        steps += [
            call("trigger-sampling-request", prompt="Say something", maxTokens=10),
            call("trigger-elicitation-request"),
        ]
    return steps


def _filesystem(folder: str) -> list[Step]:
    path = f"{folder}/greeting.txt"
    edits = [{"oldText": "world", "newText": "there"}]
    return [
        call("list_allowed_directories"),
        call("create_directory", path=f"{folder}/inner"),
        call("write_file", path=path, content="Hello, world!\nGrüße\n"),
        call("read_text_file", path=path),
        call("edit_file", path=path, edits=edits),
        call("read_multiple_files", paths=[path, f"{folder}/missing.txt"]),
        call("read_media_file", path=f"{folder}/pixel.png"),
        call("list_directory", path=folder),
        call("directory_tree", path=folder),
        call("search_files", path=folder, pattern="*.txt"),
        call("read_text_file", path="/etc/hostname"),
        call("read_text_file", path=f"{folder}/missing.txt"),
    ]


def _memory() -> list[Step]:
    entities = [
        {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]},
        {"name": "Engine", "entityType": "machine", "observations": []},
    ]
    relation = {"from": "Ada", "to": "Engine", "relationType": "programs"}
    observation = {"entityName": "Engine", "contents": ["was never built"]}
    return [
        call("create_entities", entities=entities),
        call("create_relations", relations=[relation]),
        call("add_observations", observations=[observation]),
        call("read_graph"),
        call("search_nodes", query="built"),
        call("open_nodes", names=["Ada"]),
        call("add_observations", observations=[{"entityName": "Nobody", "contents": []}]),
        call("delete_entities", entityNames=["Ada", "Engine"]),
        call("read_graph"),
    ]


ASKING: Sequence[Step] = (
    call("test_sampling", prompt="Say something"),
    call("test_elicitation", message="Who are you?"),
    call("test_elicitation_sep1034_defaults"),
    call("test_elicitation_sep1330_enums"),
    call("test_streaming_elicitation"),
    *(
        call(f"test_input_required_result_{name}")
        for name in (
            "elicitation",
            "sampling",
            "list_roots",
            "request_state",
            "multiple_inputs",
            "multi_round",
            "tampered_state",
            "capabilities",
        )
    ),
    prompt("test_input_required_result_prompt"),
)


def _reference(era: Era, *, questions: bool) -> list[Step]:
    template = of_template("test://template/{id}/data")
    steps = [
        call("test_simple_text"),
        call("test_image_content"),
        call("test_audio_content"),
        call("test_embedded_resource"),
        call("test_multiple_content_types"),
        call("test_structured_content"),
        call("test_error_handling"),
        call("test_x_mcp_header", region="Zürich"),
        call("json_schema_2020_12_tool", name="Ada", contactMethod="email", email="ada@x.org"),
        call("test_missing_capability"),
        call("test_tool_with_progress"),
        call(UNKNOWN),
        read("test://static-text"),
        read("test://static-binary"),
        read("test://template/7/data"),
        read("test://no-such-resource"),
        prompt("test_simple_prompt"),
        prompt("test_prompt_with_arguments", arg1="one", arg2="two"),
        prompt("test_prompt_with_embedded_resource", resourceUri="test://static-text"),
        prompt("test_prompt_with_image"),
        prompt(UNKNOWN),
        complete(of_prompt("test_prompt_with_arguments"), "arg1", "par"),
        complete(template, "id", "test", other="value"),
        *logged("test_tool_with_logging", era, "info"),
        *logged("test_logging_tool", era, "error"),
    ]
    return [*steps, *ASKING] if questions else steps


def _own(*, questions: bool) -> list[Step]:
    steps = [
        call("add", a=1, b=2),
        call("add", a="nonsense", b=2),
        call("person", name="Ada"),
        call("words", text='a "b" \\ Grüße 你好 \U0001f389 \u2028'),
        call("picture"),
        call("fail", message="not today"),
        call("steps", count=3),
        read("own://greeting"),
        read("own://pixel"),
        read("own://people/Ada%20L"),
        read("own://no-such-resource"),
        prompt("review", language="python", code="1 + 1"),
        complete(of_prompt("review"), "language", "p"),
        complete(of_template("own://people/{name}"), "name", "r"),
    ]
    if questions:
        steps += [call("greet"), call("imagine"), call("roots")]
    return steps
