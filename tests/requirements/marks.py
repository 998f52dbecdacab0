"""The other direction: which requirements a test says that it pins.

A test says so with ``@pytest.mark.requirement("id", ...)``. Whoever renames, moves or deletes a
test finds out either way. After a change of the manifest, write the marks anew:

    python -m tests.requirements.marks && ruff format tests && ruff check --fix tests
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.requirements.manifest import ROOT, Requirement, load

MARK: Final = "requirement"
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


@attrs.frozen
class Test:
    """A test, as it is written.

    Attributes:
        name: What pytest calls it, without parameters.
        marks: The requirements that it says it pins.
        line: Where its first decorator is, or else its ``def``; counted from 0.
        marked: The lines of its marks.
    """

    name: str
    marks: tuple[str, ...]
    line: int
    marked: tuple[range, ...]


def collect(path: Path, root: Path = ROOT) -> Iterator[Test]:
    """Yield the tests of a file without importing it.

    Raises:
        ValueError: A mark has anything but strings.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    yield from _collect(tree.body, path.relative_to(root).as_posix())


def _collect(body: Iterable[ast.stmt], prefix: str) -> Iterator[Test]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _collect(node.body, f"{prefix}::{node.name}")
        elif isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
            yield _test(node, f"{prefix}::{node.name}")


def _test(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Test:
    marks: list[str] = []
    lines: list[range] = []
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(f"mark.{MARK}"):
            marks += [_string(argument, name) for argument in decorator.args]
            lines.append(range(decorator.lineno - 1, decorator.end_lineno or decorator.lineno))
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
    return Test(name, tuple(marks), first, tuple(lines))


def _string(argument: ast.expr, name: str) -> str:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    raise ValueError(f"{name}: a mark names requirements as strings")


def collect_all(root: Path = ROOT) -> dict[str, Test]:
    """Return every test by its name."""
    paths = sorted((root / "tests").rglob("test_*.py"))
    return {test.name: test for path in paths for test in collect(path, root)}


def wanted(requirements: Iterable[Requirement]) -> dict[str, list[str]]:
    """Return what the manifest says of tests: the requirements that each one pins."""
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        for name in requirement.tests:
            found.setdefault(name, []).append(requirement.id)
    return found


def disagreements(requirements: Iterable[Requirement], tests: Mapping[str, Test]) -> list[str]:
    """Say where tests have other marks than the manifest asks for."""
    asked = wanted(requirements)
    said = [f"{name}: there is no such test" for name in asked if name not in tests]
    for name, test in tests.items():
        marks, ids = list(test.marks), asked.get(name, [])
        if len(set(marks)) < len(marks):
            said.append(f"{name}: a mark names a requirement twice")
        said += [f"{name}: it has a mark for {each}" for each in set(marks) - set(ids)]
        said += [f"{name}: it has no mark for {each}" for each in set(ids) - set(marks)]
    return sorted(said)


def rewrite(source: str, tests: Iterable[Test], asked: Mapping[str, list[str]]) -> str:
    """Return a file with the marks that the manifest asks for."""
    lines: list[str | None] = list(source.splitlines(keepends=True))
    for test in tests:
        for line in (line for lines_of_mark in test.marked for line in lines_of_mark):
            lines[line] = None
        if ids := asked.get(test.name):
            here = source.splitlines()[test.line]
            indent = here[: len(here) - len(here.lstrip())]
            names = ", ".join(f'"{each}"' for each in ids)
            lines[test.line] = f"{indent}@pytest.mark.{MARK}({names})\n{lines[test.line] or ''}"
    text = "".join(line for line in lines if line is not None)
    if f"pytest.mark.{MARK}(" in text and "\nimport pytest\n" not in text:
        end = text.index("\n", text.index("import ")) + 1
        text = f"{text[:end]}import pytest\n{text[end:]}"
    return text


def main() -> None:
    """Write the marks into the tests."""
    asked = wanted(load())
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tests = list(collect(path))
        source = path.read_text(encoding="utf-8")
        if any(set(test.marks) != set(asked.get(test.name, [])) for test in tests):
            path.write_text(rewrite(source, tests, asked), encoding="utf-8")


if __name__ == "__main__":
    main()
