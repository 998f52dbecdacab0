"""The wheel, in an environment that has nothing else of onemcp."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

import pytest

from tests.executable.built import Program, ask
from tests.support.sdk import on_asyncio


@pytest.fixture(scope="session")
def program(program_of: Callable[[Sequence[str]], Program]) -> Program:
    return program_of([os.environ["ONEMCP_BUILT_WHEEL"]])


def test_an_installed_wheel_has_schema_pages_and_types(program: Program):
    assert json.loads(program.run("schema").stdout)["title"] == "onemcp configuration"
    code = (
        "from importlib.resources import files; root = files('onemcp'); "
        "print(*sorted(p.name for d in ('web/templates', 'web/static') "
        "for p in root.joinpath(d).iterdir()), root.joinpath('py.typed').is_file())"
    )
    python = os.path.join(os.path.dirname(program.words[0]), "python")  # noqa: PTH118, PTH120
    said = Program((python,), program.home, program.environ).run("-I", "-c", code).stdout.split()
    assert {"base.html", "login.html", "style.css", "True"} <= {*said}


@pytest.mark.interop
@on_asyncio
async def test_an_installed_wheel_serves_the_demo(demo: tuple[str, str]):
    assert "Grüße" in (await ask(*demo, "2026-07-28")).text
