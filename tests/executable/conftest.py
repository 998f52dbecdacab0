"""The programs that are built: named by variables, of which the sessions of nox set one each.

Without it there is nothing to test, so the module is no test then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
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
def program_of() -> Iterator[Callable[[Sequence[str]], Program]]:
    """Put a built program where nothing else is."""

    with ExitStack() as stack:

        def program(words: Sequence[str]) -> Program:
            # Not below `tmp_path`: the paths of its sockets must be short.
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="onemcp-"))
            environ = {"HOME": home, "XDG_RUNTIME_DIR": home}
            return Program(tuple(words), Path(home), environ)

        yield program


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
