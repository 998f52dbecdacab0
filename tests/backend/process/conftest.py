from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from onemcp.backend.process import ProcessInstance, ProcessSpec, StopPolicy, open_process
from tests.support.process_tree import PYTHON, marked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from onemcp.backend.process import Process

PATIENT = StopPolicy(eof=20.0, terminate=20.0, kill=20.0)
HASTY = StopPolicy(eof=0.02, terminate=0.05, kill=20.0)


@pytest.fixture
def instance() -> Iterator[ProcessInstance]:
    """Whatever a test does, nothing of its instance is alive afterwards."""
    instance = ProcessInstance()
    yield instance
    assert marked(instance.id) == set()


@pytest.fixture
def python(instance: ProcessInstance) -> Callable[..., AbstractAsyncContextManager[Process]]:
    """Run a small Python program within half a minute."""

    @asynccontextmanager
    async def run(program: str, *args: str, **options) -> AsyncIterator[Process]:
        spec = ProcessSpec(PYTHON[0], (*PYTHON[1:], program, *args))
        options.setdefault("stop", PATIENT)
        with trio.fail_after(30):
            async with open_process(spec, instance=instance, **options) as process:
                yield process

    return run


@pytest.fixture
def shell(instance: ProcessInstance) -> Callable[..., AbstractAsyncContextManager[Process]]:
    """Run a small shell script within half a minute."""

    @asynccontextmanager
    async def run(script: str, **options) -> AsyncIterator[Process]:
        options.setdefault("stop", PATIENT)
        with trio.fail_after(30):
            spec = ProcessSpec("sh", ("-c", script))
            async with open_process(spec, instance=instance, **options) as process:
                yield process

    return run
