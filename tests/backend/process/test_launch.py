"""What programs may use: set before they begin, and inherited by all that they start."""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from onemcp.backend.process import ProcessInstance, ProcessSpec, ProcessStartError, open_process
from onemcp.backend.process._launch import command_line

if TYPE_CHECKING:
    from pathlib import Path

CHILD = (
    "import resource as r; print([r.getrlimit(each) for each in (r.RLIMIT_CPU, r.RLIMIT_NOFILE)])"
)
TELLS = f"""
import json, resource, subprocess, sys
{CHILD}
sys.stdout.flush()
subprocess.run([sys.executable, "-I", "-S", "-c", {CHILD!r}])
"""


async def test_a_program_and_what_it_starts_have_its_limits(tmp_path: Path):
    args = ("-I", "-S", "-c", TELLS)
    spec = ProcessSpec(sys.executable, args, cwd=str(tmp_path), cpu=1000, open_files=64)
    written = b""
    with trio.fail_after(30):
        async with open_process(spec, instance=ProcessInstance()) as process:
            while part := await process.stdout.receive_some():
                written += part
            assert await process.wait() == 0
    lines = written.decode().replace("(", "[").replace(")", "]").splitlines()
    assert [json.loads(line) for line in lines] == [[[1000, 1001], [64, 64]]] * 2


def test_without_limits_there_is_no_shell():
    assert command_line(ProcessSpec("sh", ("-c", "true")), {}) == ["sh", "-c", "true"]


def test_more_files_than_onemcp_may_have_are_as_many_as_it_may():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    script = command_line(ProcessSpec("sh", open_files=hard + 1), {"PATH": "/bin:/usr/bin"})[2]
    assert f"ulimit -S -n {hard} && ulimit -H -n {hard} && exec" in script


@pytest.mark.parametrize("command", ["no-such-program", "./no/such/program"])
async def test_a_program_that_is_not_there_is_told_of_as_without_limits(command: str):
    with pytest.raises(ProcessStartError) as caught:
        async with open_process(ProcessSpec(command, cpu=10), instance=ProcessInstance()):
            pass
    assert caught.value.reason == "no such program"


async def test_a_program_by_its_path_has_its_limits_too(tmp_path: Path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nulimit -n\n")
    program.chmod(0o755)
    spec = ProcessSpec("./program", cwd=str(tmp_path), open_files=50)
    with trio.fail_after(30):
        async with open_process(spec, instance=ProcessInstance()) as process:
            assert await process.stdout.receive_some() == b"50\n"
            await process.wait()
