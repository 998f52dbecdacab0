"""The manifest of requirements and the tests agree, checked from both sides."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.requirements import marks
from tests.requirements.check_source import compare, sentences
from tests.requirements.manifest import BOUND, STATES, Invalid, Requirement, load, read

ENTRY = {
    "id": "basic/x#section-1",
    "level": "must",
    "binds": ["client"],
    "section": "Section",
    "text": "Something is so.",
    "source": "0123456789",
}
TESTED = ENTRY | {"tests": ["tests/test_x.py::test_a"]}


def entry(**more: Any) -> Requirement:
    return read(TESTED | more, "basic/x")


# --- the real ones ---------------------------------------------------------------------------


def test_manifest_and_tests_agree():
    said = marks.disagreements(load(), marks.collect_all())
    assert not said, "run: python -m tests.requirements.marks"


def test_manifest_is_about_everybody_and_nothing_of_it_is_left_to_do():
    entries = load()
    assert len(entries) > 500
    assert {who for each in entries for who in each.binds} == BOUND
    assert {each.state for each in entries} == set(STATES) - {"planned"}


# --- the manifest ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tests": []}, "exactly one of"),
        ({"planned": "issue 4"}, "exactly one of"),
        ({"not_applicable": "no"}, "exactly one of"),
        ({"id": "basic/y#section-1"}, "must begin with basic/x#"),
        ({"level": "may"}, "level 'may'"),
        ({"binds": []}, "binds"),
        ({"binds": ["nobody"]}, "binds"),
        ({"text": ""}, "text and source"),
        ({"source": ""}, "text and source"),
        ({"test": ["x"]}, "mean nothing"),
    ],
)
def test_an_entry_that_can_not_be_is_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(Invalid, match=complaint):
        entry(**changes)


@pytest.mark.parametrize("state", ["not_applicable", "planned"])
def test_an_entry_without_tests_has_a_reason(state: str):
    assert read(ENTRY | {state: "a reason"}, "basic/x").state == state


def page(*entries: tuple[str, str]) -> str:
    """Write a file of entries, each given by its id and its last line."""
    common = 'level = "must"\nbinds = ["client"]\nsection = ""\ntext = "x"\nsource = "x"\n'
    return "".join(f'[[requirement]]\nid = "{key}"\n{common}{last}\n' for key, last in entries)


PLANNED = 'planned = "issue 1"'


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([("x#1", PLANNED), ("x#1", PLANNED)], "more than once.*x#1"),
        ([("x#1", 'repeats = "x#2"')], "x#1: x#2 is not there"),
        ([("x#1", 'repeats = "x#1"')], "a repetition itself"),
    ],
)
def test_an_id_is_used_once_and_repetitions_lead_to_originals(
    tmp_path: Path, entries: list[tuple[str, str]], complaint: str
):
    (tmp_path / "x.toml").write_text(page(("x#1", PLANNED), ("x#2", 'repeats = "x#1"')))
    assert [each.id for each in load(tmp_path)] == ["x#1", "x#2"]
    (tmp_path / "x.toml").write_text(page(*entries))
    with pytest.raises(Invalid, match=complaint):
        load(tmp_path)


def test_a_file_holds_requirements_alone(tmp_path: Path):
    (tmp_path / "x.toml").write_text("title = 'x'\n", encoding="utf-8")
    with pytest.raises(Invalid, match="x: a file holds"):
        load(tmp_path)


# --- marks -----------------------------------------------------------------------------------

MODULE = """
import pytest


@pytest.mark.parametrize("x", [1])
@pytest.mark.requirement("basic/x#section-1", "basic/x#section-2")
async def test_a(x): ...


class TestGroup:
    def test_b(self): ...

    def helper(self): ...


class Helper:
    def test_c(self): ...


def other():
    def test_d(): ...
"""


def collected(root: Path, text: str = MODULE) -> dict[str, marks.Test]:
    (root / "tests").mkdir(exist_ok=True)
    (root / "tests" / "test_x.py").write_text(text, encoding="utf-8")
    return marks.collect_all(root)


def test_tests_are_found_with_their_marks_and_without_parameters(tmp_path: Path):
    tests = collected(tmp_path)
    assert {name: test.marks for name, test in tests.items()} == {
        "tests/test_x.py::test_a": ("basic/x#section-1", "basic/x#section-2"),
        "tests/test_x.py::TestGroup::test_b": (),
    }


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        ({}, []),
        (
            {"tests": ("tests/test_x.py::test_gone",)},
            ["there is no such test", "it has a mark for"],
        ),
        ({"tests": ("tests/test_x.py::TestGroup::test_b",)}, ["no mark for", "it has a mark for"]),
        ({"id": "basic/x#section-9"}, ["it has a mark for", "no mark for"]),
    ],
)
def test_both_sides_are_checked(tmp_path: Path, change: dict[str, Any], complaints: list[str]):
    text = MODULE.replace(', "basic/x#section-2"', "")
    said = marks.disagreements([attrs.evolve(entry(), **change)], collected(tmp_path, text))
    assert len(said) == len(complaints)
    assert all(any(part in each for each in said) for part in complaints)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (MODULE.replace("test_a", "test_renamed"), "test_a: there is no such test"),
        (MODULE.replace("section-2", "section-1"), "names a requirement twice"),
        (MODULE.replace('"basic/x#section-1", ', ""), "test_a: it has no mark for"),
        (MODULE, "test_a: it has a mark for basic/x#section-2"),
    ],
)
def test_a_test_that_changes_is_found_out(tmp_path: Path, text: str, complaint: str):
    assert any(
        complaint in each for each in marks.disagreements([entry()], collected(tmp_path, text))
    )


def test_a_mark_that_is_no_string_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="test_a: a mark names"):
        collected(tmp_path, MODULE.replace('"basic/x#section-1"', "SECTION"))


def test_marks_are_written_where_the_manifest_wants_them(tmp_path: Path):
    wanted = {
        "tests/test_x.py::test_a": ["basic/x#section-9"],
        "tests/test_x.py::TestGroup::test_b": ["basic/x#section-1"],
    }
    text = marks.rewrite(MODULE, collected(tmp_path).values(), wanted)
    tests = collected(tmp_path, text)
    assert {name: list(test.marks) for name, test in tests.items()} == wanted
    assert marks.rewrite(text, tests.values(), wanted) == text
    assert collected(tmp_path, marks.rewrite(text, tests.values(), {}))
    assert "requirement" not in (tmp_path / "tests" / "test_x.py").read_text(encoding="utf-8")


def test_marking_imports_what_it_needs(tmp_path: Path):
    text = "from __future__ import annotations\n\n\ndef test_a(): ...\n"
    tests = collected(tmp_path, text).values()
    written = marks.rewrite(text, tests, {"tests/test_x.py::test_a": ["x#1"]})
    assert "import pytest\n" in written
    compile(written, "test_x.py", "exec")


# --- the source ------------------------------------------------------------------------------


def found(page: str) -> list[tuple[str, str, set[str]]]:
    lines = textwrap.dedent(page).splitlines()
    return [(each.section, each.text, set(each.levels)) for each in sentences("page", lines)]


def test_every_sentence_with_a_keyword_is_found_and_no_other():
    page = """
        ## First

        Nothing here. A client
        **MUST** do [this](/x) (e.g. `that`). It SHOULD NOT and MUST rest, must it not.

        ```text
        MUST
        ```

        | a | b |
        | MUST x | y |

        ### Second `_meta`

        - One.
        - Servers SHALL:
          1. eat
          2. SHOULD sleep
        - Three.

        It is RECOMMENDED to SHOULD-be.
    """
    assert found(page) == [
        ("First", "A client MUST do this (e.g. that).", {"must"}),
        ("First", "It SHOULD NOT and MUST rest, must it not.", {"should-not", "must"}),
        ("First", "| MUST x | y |", {"must"}),
        ("Second _meta", "Servers SHALL: eat SHOULD sleep", {"must"}),
        ("Second _meta", "SHOULD sleep", {"should"}),
        ("Second _meta", "It is RECOMMENDED to SHOULD-be.", {"should"}),
    ]


def test_the_source_and_the_manifest_are_compared_both_ways():
    (sentence,) = sentences("basic/x", ["# Section", "It MUST be so."])
    known = entry(source=sentence.fingerprint)
    assert compare([sentence], [known]) == []
    assert [each[:4] for each in compare([sentence], [])] == ["NEW "]
    assert compare([], [known]) == ["GONE basic/x#section-1 (must)"]
    (edited,) = sentences("basic/x", ["# Section", "It MUST be otherwise."])
    assert sorted(each[:4] for each in compare([edited], [known])) == ["GONE", "NEW "]
    assert len(compare([sentence], [attrs.evolve(known, level="should")])) == 2


def test_layout_makes_no_difference():
    (one,) = sentences("x", ["It **MUST** be", "[so](/y)."])
    (two,) = sentences("x", ["It MUST  be so."])
    assert one.fingerprint == two.fingerprint
