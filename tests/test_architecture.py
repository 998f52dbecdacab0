"""What the architecture promises, beyond what import-linter keeps."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import onemcp

PACKAGE = Path(onemcp.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 420

MUTABLE_CALLS = {"dict", "list", "set", "defaultdict", "OrderedDict", "deque", "Counter", "count"}
TRIO_ENTRY = {"run", "start_guest_run"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def starts_trio(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in {("trio", name) for name in TRIO_ENTRY}
    ) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) == ("anyio", "run")
    )


def test_only_the_command_line_starts_trio():
    found = {
        name_of(path)
        for path in MODULES
        if any(starts_trio(node) for node in ast.walk(tree_of(path)))
    }
    # The demo backend is a program of its own, which onemcp starts like any other backend.
    own_programs = {name for name in found if name.startswith("onemcp/demo/")}
    assert {name.split("/")[1] for name in found - own_programs} == {"cli"}


@every_module
def test_a_module_can_be_read_in_one_sitting(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in MUTABLE_CALLS
    )


def is_declared_constant(node: ast.Assign | ast.AnnAssign) -> bool:
    """Tell whether a type checker keeps a table from being changed or bound anew."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation).startswith(("Final", "Mapping["))
    return all(isinstance(t, ast.Name) and (t.id == "__all__") for t in node.targets)


@every_module
def test_no_module_holds_mutable_state(path: Path):
    offenders = [
        f"line {node.lineno}: {ast.unparse(node)[:80]}"
        for node in tree_of(path).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and is_mutable(node.value)
        and not is_declared_constant(node)
    ]
    assert not offenders


def names_changed(tree: ast.Module) -> set[str]:
    """Return the names that some function changes in place: x[...] = , x.append(...), global x."""
    changed: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        own = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)} | {
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                changed.update(node.names)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                if isinstance(node.value, ast.Name) and node.value.id not in own:
                    changed.add(node.value.id)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                target = node.func.value
                changes = node.func.attr in {
                    "append", "add", "update", "pop", "setdefault", "clear", "extend", "remove",
                }  # fmt: skip
                if changes and isinstance(target, ast.Name) and target.id not in own:
                    changed.add(target.id)
    return changed


@every_module
def test_no_function_changes_a_module_level_name(path: Path):
    tree = tree_of(path)
    bound = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    assert not bound & names_changed(tree)


@pytest.mark.requirement(
    "basic/index#ref-resolution-1",
    "basic/index#ref-resolution-2",
    "server/tools#security-considerations-2",
)
def test_the_protocol_imports_nothing_that_does_io():
    forbidden = {
        "anyio", "asyncio", "httpx", "hypercorn", "io", "os", "pathlib", "quart", "select",
        "selectors", "socket", "subprocess", "threading", "time", "trio",
    }  # fmt: skip
    imported = {
        alias.name.partition(".")[0]
        for path in (PACKAGE / "protocol").glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").partition(".")[0]
        for path in (PACKAGE / "protocol").glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert not imported & forbidden
