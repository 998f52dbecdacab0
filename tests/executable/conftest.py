"""The programs that are built: named by variables, of which the sessions of nox set one each.

Without it there is nothing to test, so the module is no test then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest

from tests.executable.built import Program

BUILT: Final = {
    "test_executable.py": "ONEMCP_BUILT_EXECUTABLE",
    "test_wheel.py": "ONEMCP_BUILT_WHEEL",
    "test_zipapp.py": "ONEMCP_BUILT_ZIPAPP",
}

collect_ignore = [module for module, variable in BUILT.items() if not os.environ.get(variable)]


@pytest.fixture(scope="session")
def program_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], Program]:
    """Put a built program where nothing else is."""

    def program(words: Sequence[str]) -> Program:
        home = tmp_path_factory.mktemp("home")
        environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        return Program(tuple(words), home, environ)

    return program


@pytest.fixture
def demo(program: Program) -> Iterator[tuple[str, str]]:
    """The demo, as `run` serves it without a configuration: its URL and a token."""
    with program.start("run", "--port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = "".join(next(process.stdout) for _ in range(3)).split()
            assert any("backend_ready" in line for line in process.stderr)
            yield next(w for w in said if w.startswith("http")), said[said.index("token") + 1]
        finally:
            process.terminate()
            process.communicate()
            assert process.returncode == 0
