"""Commands that end by themselves, as real processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import onemcp.cli
from onemcp import config
from onemcp.app import VERSION
from onemcp.auth import InvalidToken, Resource, TokenVerifier, load_keys, load_or_create_keys
from onemcp.auth._passwords import verify_password
from onemcp.auth.server import ALL, Grant, change_records, read_records
from onemcp.cli import check, main, program, schema, token
from onemcp.cli.failures import ExitCode

GOOD = '{"mcpServers": {"a": {"command": "x"}, "b": {"url": "http://b/mcp", "enabled": false}}}'
BAD = '{"mcpServers": {"a": {"comand": "x"}}, "server": {"port": 99999}}'


def test_the_version_is_that_of_the_package():
    assert version("onemcp") == VERSION


def test_version(onemcp):
    for option in ("--version", "-V"):
        ended = onemcp(option)
        assert (ended.stdout, ended.stderr) == (f"onemcp {version('onemcp')}\n", "")
        assert ended.returncode == 0


CLOSED = """
import os, sys
code = onemcp.cli.main(["schema"])
for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
    assert stream.fileno() == number and os.path.samestat(os.fstat(number), os.stat(os.devnull))
sys.exit(code)
"""


def test_standard_streams_that_are_closed_lead_nowhere():
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    program = [sys.executable, "-c", f"import onemcp.cli{CLOSED}"]
    assert subprocess.run([*closed, *program], check=False, timeout=30).returncode == 0


def test_installed_program_is_the_same():
    [script] = entry_points(group="console_scripts", name="onemcp")
    assert script.load() is main


def test_help_names_every_command_and_exit_code(onemcp):
    ended = onemcp("--help")
    assert ended.returncode == 0
    for name, entry in program.COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(entry.summary)}", ended.stdout)
    for code in ExitCode:
        described = code is ExitCode.OK or f"\n{code:>6}  " in ended.stdout
        assert described
        assert re.search(rf"^{code} ", onemcp_documentation(), re.MULTILINE)


def onemcp_documentation() -> str:
    return onemcp.cli.__doc__ or ""


@pytest.mark.parametrize("command", program.COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "-h"]) == 0
    assert f"Usage: onemcp {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["zzz"], "No such command 'zzz'.\n"),
        (["run", "--prot", "1"], "'--port'?"),
        (["run", "--port", "65536"], "65536 is not in the range"),
        (["run", "--port", "http"], "not a valid integer"),
        (["run", "more"], "unexpected extra argument"),
        (["token", "--lifetime", "forever"], "'forever' is not 1s to 3650d"),
        (["token", "--lifetime", "0s"], "'0s' is not"),
        (["token", "--lifetime", "3651d"], "'3651d' is not"),
        (["token", "--subject", ""], "printable characters"),
        (["token", "--subject", "a\x1b"], "printable characters"),
        (["check"], "There is no onemcp.json here"),
        ([], "Usage: onemcp"),
    ],
)
def test_wrong_command_lines_are_explained(arguments, told, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


def test_schema_is_that_of_the_configuration(onemcp):
    ended = onemcp("schema")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == config.schema()


def test_output_that_cannot_be_written_is_told(onemcp):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        ended = onemcp("schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 74
    assert ended.stderr == "Error: the output cannot be written: No space left on device\n"


def test_reader_that_has_gone_is_no_reason_to_complain(onemcp):
    reader, writer = os.pipe()
    os.close(reader)
    ended = onemcp("schema", capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (74, "")


def test_pipe_that_breaks_late_is_no_reason_to_complain_either(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # which is given up
    assert program._output_failed(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 74
    assert capsys.readouterr().err == ""


# check


def test_check_tells_what_a_good_file_says(onemcp, home):
    (home / "good.json").write_text(GOOD)
    ended = onemcp("check", "good.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "ok: good.json",
        "  listens on 127.0.0.1, port 8722, auth local",
        "  backend a: stdio",
        "  backend b: HTTP, disabled",
    ]
    ended = onemcp("check", "good.json", "--json")
    assert json.loads(ended.stdout) == {
        "ok": True,
        "file": "good.json",
        "host": "127.0.0.1",
        "port": 8722,
        "auth": "local",
        "backends": [
            {"name": "a", "enabled": True, "pin": "report"},
            {"name": "b", "enabled": False, "pin": "report"},
        ],
    }


def test_check_tells_everything_that_is_wrong(onemcp, home):
    (home / "bad.json").write_text(BAD)
    ended = onemcp("check", "bad.json")
    assert (ended.returncode, ended.stderr) == (1, "")
    *problems, count = ended.stdout.splitlines()
    assert len(problems) >= 2
    assert all(line.startswith("bad.json:1:") for line in problems)
    assert count == f"{len(problems)} problems"
    ended = onemcp("check", "--json", "bad.json")
    assert ended.returncode == 1
    result = json.loads(ended.stdout)
    assert not result["ok"]
    assert len(result["problems"]) == len(problems)
    assert result["problems"][0].keys() == {"file", "line", "column", "path", "message", "remedy"}


def test_check_tells_what_is_wrong_with_users_and_clients(onemcp, home):
    users = {"ada": {"password": "$scrypt$hidden", "scopes": ["nonsense:x"]}}
    (home / "bad.json").write_text(json.dumps({**json.loads(GOOD), "auth": {"users": users}}))
    ended = onemcp("check", "bad.json")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "auth.users.ada.password" in ended.stdout
    assert "auth.users.ada.scopes[0]" in ended.stdout
    assert "hidden" not in ended.stdout


def test_check_of_a_missing_file_is_one_problem(onemcp):
    ended = onemcp("check", "missing.json")
    assert ended.returncode == 1
    assert "missing.json: cannot be read" in ended.stdout
    assert ended.stdout.endswith("\n1 problem\n")


def test_check_takes_the_file_that_run_would_take(onemcp, home):
    (home / "onemcp.json").write_text(GOOD)
    assert "ok: " in onemcp("check").stdout


# token


def test_token_is_all_that_is_printed_and_lets_in(onemcp, home):
    ended = onemcp("token", "--subject", "ada", "--lifetime", "2h")
    assert (ended.returncode, ended.stderr) == (0, "")
    [line] = ended.stdout.splitlines()
    keys = load_or_create_keys(home / ".local/state/onemcp")
    now = time.time()
    principal = TokenVerifier(keys).verify(line, now, Resource("http://x"))
    assert principal.subject == "ada"
    assert abs(principal.expires_at - now - 7200) < 60


def test_token_lasts_for_a_month_by_default(home, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "state"))
    assert main(["token"]) == 0
    keys = load_or_create_keys(home / "state")
    now = time.time()
    principal = TokenVerifier(keys).verify(
        capsys.readouterr().out.strip(), now, Resource("http://x")
    )
    assert principal.subject == "local"
    assert abs(principal.expires_at - now - 30 * 86_400) < 60


def test_token_of_a_configuration_that_needs_none_is_issued_with_a_note(onemcp, home):
    (home / "open.json").write_text(GOOD[:-1] + ', "auth": {"mode": "none"}}')
    ended = onemcp("token", "--config", "open.json")
    assert ended.returncode == 0
    assert ended.stdout.count("\n") == 1
    assert "asks for no token" in ended.stderr
    (home / "closed.json").write_text(GOOD)
    assert onemcp("token", "--config", "closed.json").stderr == ""


def test_what_an_operator_does_is_in_the_audit_log(home, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "state"))
    assert main(["token", "--subject", "ada", "--scope", "backend:a"]) == 0
    secret = capsys.readouterr().out.strip()
    [token_id] = read_records(home / "state").tokens
    assert main(["token", "revoke", token_id]) == 0
    assert main(["auth", "revoke", "--user", "ada"]) == 0
    assert main(["auth", "revoke", "--client", "app"]) == 0
    assert main(["auth", "revoke", "--all"]) == 0
    assert main(["auth", "rotate"]) == 0
    assert main(["token", "revoke", "none"]) == 1
    text = (home / "state" / "audit.log").read_text()
    assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line.pop("how") == "command line" and line.pop("by") for line in lines)
    issued, *revoked, rotated = [{k: v for k, v in x.items() if k != "time"} for x in lines]
    assert issued == {
        "what": "token issued",
        "client": "onemcp",
        "subject": "ada",
        "scopes": "backend:a",
        "token": token_id,
    }
    assert revoked == [
        {"what": "revocation", "token": token_id},
        {"what": "revocation", "subject": "ada"},
        {"what": "revocation", "client": "app"},
        {"what": "revocation", "subject": "everybody"},
    ]
    assert rotated["what"] == "signing keys changed"
    assert "go on to verify" in rotated["reason"]


def test_what_was_granted_is_listed_for_people_and_for_programs(home, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "state"))
    now, refresh = int(time.time()), hashlib.sha256(b"secret").hexdigest()
    grant = Grant(
        id="g1", client_id="c1", subject="ada", scopes=("mcp",), resource="http://x/mcp",
        refresh=refresh, created=now, used=now, expires=now + 3600, idle=3600,
    )  # fmt: skip
    change_records(home / "state", lambda old: (old.with_grant(grant), None))
    assert main(["token", "--subject", "bob", "--scope", "backend:a"]) == 0
    capsys.readouterr()
    for command, subject in (("auth", "ada"), ("token", "bob")):
        assert main([command, "list"]) == 0
        assert subject in capsys.readouterr().out
        assert main([command, "list", "--json"]) == 0
        told = capsys.readouterr().out
        assert refresh not in told
        [listed] = json.loads(told)
        assert listed["subject"] == subject
        assert listed["expires"] > now
        assert listed["scopes"] in (["mcp"], ["backend:a"])


def test_keys_are_rotated_and_those_of_a_configuration_are_used(home, monkeypatch, capsys):
    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out.strip()

    def lets_in(token: str, path: Path) -> bool:
        try:
            TokenVerifier(load_keys(path)).verify(token, time.time(), Resource("http://x"))
        except InvalidToken:
            return False
        return True

    monkeypatch.setenv("STATE_DIRECTORY", str(home / "state"))
    own, shared = home / "state" / "keys.json", home / "shared.json"
    old = run("token")
    shutil.copy(own, shared)
    assert "signs from now on; 1 older still verify" in run("auth", "rotate")
    assert lets_in(old, own)
    assert "signs from now on; 0 older still verify" in run("auth", "rotate", "--discard-old")
    assert not lets_in(old, own)
    assert read_records(home / "state").cutoffs.keys() == {ALL}
    (home / "named.json").write_text(
        GOOD[:-1] + f', "auth": {{"keyFile": {json.dumps(str(shared))}}}}}'
    )
    named = run("token", "--config", str(home / "named.json"))
    assert lets_in(named, shared)
    assert not lets_in(named, own)
    assert "1 older" in run("auth", "rotate", "--config", str(home / "named.json"))
    assert len(load_keys(shared).keys) == 2
    shared.unlink()
    assert main(["token", "--config", str(home / "named.json")]) == 73


def test_token_needs_a_usable_configuration_and_state_directory(onemcp, home, environment):
    (home / "bad.json").write_text(BAD)
    ended = onemcp("token", "--config", "bad.json")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "bad.json:1:" in ended.stderr
    (home / "file").write_text("")
    ended = onemcp("token", env={**environment, "XDG_STATE_HOME": str(home / "file")})
    assert (ended.returncode, ended.stdout) == (73, "")
    assert "Error: " in ended.stderr
    assert "Traceback" not in ended.stderr


# In this process, for what is hard to bring about


def test_commands_are_those_of_the_modules():
    assert {module.command for module in (check, schema, token)} <= {
        program.program.get_command(None, name)  # type: ignore[arg-type]  # it takes any
        for name in program.COMMANDS
    }
    assert program.program.get_command(None, "nothing") is None  # type: ignore[arg-type]  # likewise
    assert program.program.list_commands(None) == list(program.COMMANDS)  # type: ignore[arg-type]  # likewise


# user


def test_the_hash_of_a_password_is_all_that_is_printed(onemcp):
    ended = subprocess.run(
        [sys.executable, "-m", "onemcp", "user", "hash"],
        input="correct horse\n",
        capture_output=True,
        text=True,
        check=True,
    )
    [line] = ended.stdout.splitlines()
    assert verify_password("correct horse", line)
    assert "correct" not in ended.stdout + ended.stderr


def test_no_password_has_no_hash(onemcp):
    ended = onemcp("user", "hash")
    assert ended.returncode == 2
    assert "1 to 1024" in ended.stderr
