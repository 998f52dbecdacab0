from __future__ import annotations

import os

import pytest

from onemcp.backend.process import (
    ProcessInstance,
    ProcessSpec,
    ProcessStartError,
    StopPolicy,
    describe_exit,
    open_process,
)
from tests.support.process_tree import PYTHON

OUTER = "0" * 31 + "a"
GATEWAY = {
    "PATH": os.environ["PATH"],
    "HOME": "/home/me",
    "USER": "me",
    "LOGNAME": "me",
    "LANG": "C.UTF-8",
    "LC_TIME": "C",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108 (not used)
    "SHELL": "/bin/sh",
    "TZ": "UTC",
    "AWS_SECRET_ACCESS_KEY": "hush",
    "GITHUB_TOKEN": "hush",
    "PYTHONPATH": "/nowhere",
    "SSH_AUTH_SOCK": "/nowhere",
}
SECRETS = {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "SSH_AUTH_SOCK"}


async def environment_of(spec: ProcessSpec, instance: ProcessInstance) -> dict[str, str]:
    data = b""
    async with open_process(spec, instance=instance) as process:
        while chunk := await process.stdout.receive_some(65536):
            data += chunk
    entries = data.decode().removesuffix("\0").split("\0")
    return dict(entry.split("=", 1) for entry in entries)


async def test_the_environment_of_a_process_is_minimal():
    instance = ProcessInstance(environ=GATEWAY)
    spec = ProcessSpec(
        "env", ("-0",), env={"A": "1", "HOME": "/x"}, inherit=("SSH_AUTH_SOCK", "NO")
    )
    env = await environment_of(spec, instance)
    assert env.pop("ONEMCP_INSTANCE") == instance.id
    assert len(env.pop("ONEMCP_PROCESS")) == 32
    passed_on = {name: value for name, value in GATEWAY.items() if name not in SECRETS}
    assert env == passed_on | {"A": "1", "HOME": "/x", "SSH_AUTH_SOCK": "/nowhere"}


def test_markers_cannot_be_overridden():
    instance = ProcessInstance(environ={})
    spec = ProcessSpec("x", env={"ONEMCP_INSTANCE": "1", "ONEMCP_PROCESS": "2"})
    env = instance.environment(spec, OUTER)
    assert env == {"ONEMCP_INSTANCE": instance.id, "ONEMCP_PROCESS": OUTER}


def test_the_processes_of_a_gateway_behind_a_gateway_carry_the_markers_of_both():
    environ = {"ONEMCP_INSTANCE": OUTER, "ONEMCP_PROCESS": f"{OUTER},{OUTER}"}
    instance = ProcessInstance(environ=environ)
    env = instance.environment(ProcessSpec("x"), "1" * 32)
    assert env["ONEMCP_INSTANCE"] == f"{OUTER},{instance.id}"
    assert env["ONEMCP_PROCESS"] == f"{OUTER},{OUTER},{'1' * 32}"


@pytest.mark.parametrize("value", ["", "x", OUTER + ",", OUTER[1:], OUTER + "\n"])
def test_what_is_no_marker_is_not_passed_on(value):
    instance = ProcessInstance(environ={"ONEMCP_INSTANCE": value})
    assert instance.environment(ProcessSpec("x"), OUTER)["ONEMCP_INSTANCE"] == instance.id


@pytest.mark.parametrize("identity", ["", "test", "A" * 32, "0" * 33])
def test_an_identity_that_others_could_carry_by_chance_is_refused(identity):
    with pytest.raises(ValueError, match="must match"):
        ProcessInstance(identity)


def test_identities_differ():
    assert ProcessInstance().id != ProcessInstance().id


def test_a_spec_does_not_show_values_of_the_environment():
    spec = ProcessSpec("npx", ("-y", "x"), env={"TOKEN": "hush"})
    assert "hush" not in repr(spec)
    assert "TOKEN: ***" in repr(spec)
    assert "hush" not in repr(ProcessInstance(environ=GATEWAY))


def test_specs_are_values():
    one, other = (ProcessSpec("a", ("b",), env={"A": "1"}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != ProcessSpec("a", ("b",), env={"A": "2"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": ""},
        {"command": "a\0"},
        {"args": ("a\0",)},
        {"cwd": "a\0"},
        {"env": {"": "1"}},
        {"env": {"A=B": "1"}},
        {"env": {"A": "\0"}},
    ],
)
def test_a_spec_that_cannot_be_started_is_refused(wrong):
    with pytest.raises(ValueError, match=r"NUL|impossible|must be >= 1"):
        ProcessSpec(**({"command": "x"} | wrong))


@pytest.mark.parametrize("wrong", [{"eof": -1}, {"terminate": -1}, {"kill": 0}])
def test_a_stop_policy_without_time_to_kill_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        StopPolicy(**wrong)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "was killed by SIGKILL"),
        (-15, "was killed by SIGTERM"),
        (-50, "was killed by signal 50"),
    ],
)
def test_the_end_is_told_in_words(code, words):
    assert describe_exit(code) == words


async def failure(instance: ProcessInstance, command: str, **options) -> ProcessStartError:
    with pytest.raises(ProcessStartError) as caught:
        async with open_process(ProcessSpec(command, **options), instance=instance):
            pass
    assert repr(command) in str(caught.value)
    assert caught.value.program == command
    assert caught.value.remedy in str(caught.value)
    assert caught.value.__cause__ is not None
    return caught.value


async def test_a_program_that_does_not_exist_is_named_with_the_path_searched(instance):
    error = await failure(instance, "no-such-program", env={"PATH": "/bin:/nowhere"})
    assert error.reason == "no such program"
    assert error.path == "/bin:/nowhere"
    assert "(PATH is /bin:/nowhere)" in str(error)


async def test_the_path_of_the_process_is_searched_and_not_that_of_the_gateway(instance, tmp_path):
    await failure(instance, "env", env={"PATH": str(tmp_path)})
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o700)
    spec = ProcessSpec("hello", env={"PATH": str(tmp_path)})
    async with open_process(spec, instance=instance) as process:
        assert await process.wait() == 9


async def test_a_file_that_is_not_executable(instance, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o600)
    error = await failure(instance, str(program))
    assert "not an executable file" in error.reason
    assert "chmod +x" in error.remedy


async def test_a_file_without_a_format(instance, tmp_path):
    program = tmp_path / "program"
    program.write_text("echo hello\n")
    program.chmod(0o700)
    assert "format" in (await failure(instance, str(program))).reason


async def test_a_script_without_its_interpreter(instance, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o700)
    assert "interpreter" in (await failure(instance, str(program))).reason


async def test_a_working_directory_that_does_not_exist(instance):
    error = await failure(instance, "cat", cwd="/nowhere/at/all")
    assert error.reason == "its cwd '/nowhere/at/all' does not exist"
    assert error.remedy == "Create the directory or correct cwd."


async def test_a_working_directory_that_is_a_file(instance, tmp_path):
    path = tmp_path / "file"
    path.touch(mode=0o700)
    assert "is not a directory" in (await failure(instance, "cat", cwd=str(path))).reason
    path.chmod(0o600)
    assert "is not a directory" in (await failure(instance, "cat", cwd=str(path))).reason


async def test_a_program_beside_a_good_working_directory_is_blamed_itself(instance, tmp_path):
    assert (await failure(instance, "nope", cwd=str(tmp_path))).reason == "no such program"
    assert "executable" in (await failure(instance, str(tmp_path), cwd=str(tmp_path))).reason


async def test_what_cannot_be_encoded_is_refused(instance):
    error = await failure(instance, "cat", args=("\ud800",))
    assert "surrogates" in error.reason


async def test_too_long_arguments(instance):
    assert "too long" in (await failure(instance, "cat", args=("x" * 10_000_000,))).reason


async def test_the_working_directory_is_the_one_configured(instance, tmp_path):
    program = "import os; print(os.getcwd())"
    spec = ProcessSpec(PYTHON[0], (*PYTHON[1:], program), cwd=str(tmp_path))
    async with open_process(spec, instance=instance) as process:
        assert (await process.stdout.receive_some(1000)).decode().strip() == str(tmp_path)
