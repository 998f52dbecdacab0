"""The units, as systemd itself reads them, and the command that puts them in place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from onemcp.cli.program import program
from onemcp.systemd import MARK, service_unit, socket_unit, systemd_version
from tests.support.skipping import skip_unless_ci

FILES = Path(__file__).parents[2] / "configs" / "systemd"
PROGRAM = "/opt/onemcp/bin/onemcp"
WORST_EXPOSURE = 2.0


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        skip_unless_ci("there is no systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_units_of_the_repository_are_what_the_command_writes():
    config = ["--config", "/etc/onemcp/onemcp.json"]
    expected = {
        "onemcp.service": service_unit([PROGRAM, "run", *config], user="onemcp"),
        "onemcp.socket": socket_unit("127.0.0.1:8722"),
        "onemcp-user.service": service_unit([PROGRAM, "run"], user=None),
    }
    written = {path.name: path.read_text(encoding="utf-8") for path in FILES.iterdir()}
    assert written == expected


@pytest.mark.parametrize("user", ["root", None])
def test_systemd_finds_no_fault_with_the_units(tmp_path, user):
    # The program must be there, and the type is one that this version knows.
    text = service_unit(["/bin/true"], user=user, version=systemd_version(), socket=True)
    (tmp_path / "onemcp.service").write_text(text)
    (tmp_path / "onemcp.socket").write_text(socket_unit("127.0.0.1:8722"))
    paths = [str(tmp_path / name) for name in ("onemcp.service", "onemcp.socket")]
    done = analyze("verify", "--man=no", "--recursive-errors=no", *paths)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_confined():
    path = str(FILES / "onemcp.service")
    done = analyze("security", "--offline=true", "--json=short", path)
    assert any(check["set"] for check in json.loads(done.stdout))
    told = analyze("security", "--offline=true", "--no-pager", path)
    [exposure] = re.findall(r"Overall exposure level for \S+ ([0-9.]+)", told.stdout)
    assert float(exposure) <= WORST_EXPOSURE
    # Node.js and others compile just in time.
    assert "MemoryDenyWriteExecute" not in Path(path).read_text(encoding="utf-8")


def test_an_older_systemd_is_told_how_to_reload():
    assert "Type=notify-reload\n" in service_unit(["x"], user=None, version=253)
    older = service_unit(["x"], user=None, version=252)
    assert "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n" in older


def test_words_of_the_command_arrive_as_they_are():
    odd = ["/opt/my programs/onemcp", 'a"b', "100%", "$HOME", "back\\slash"]
    line = next(
        line for line in service_unit(odd, user=None).splitlines() if line.startswith("ExecStart")
    )
    assert line == (r'ExecStart="/opt/my programs/onemcp" "a\"b" "100%%" "$$HOME" "back\\slash"')


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(program, ["install-service", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "systemd" / "user"


def test_a_service_of_a_user_is_installed_and_taken_away(folder):
    done = run(["--user", "--socket", "127.0.0.1:9000"])
    assert done.exit_code == 0, done.output
    assert "systemctl --user enable --now onemcp.socket" in done.output
    service = (folder / "onemcp.service").read_text()
    assert f"run --config {folder.parents[1]}/onemcp/onemcp.json\n" in service
    assert "After=onemcp.socket" in service
    assert "ListenStream=127.0.0.1:9000\n" in (folder / "onemcp.socket").read_text()
    assert run(["--user", "--config", "/etc/other.json"]).exit_code == 0
    assert "--config /etc/other.json\n" in (folder / "onemcp.service").read_text()

    assert "Removed" in run(["--user", "--remove"]).output
    assert not list(folder.iterdir())
    assert "nothing to remove" in run(["--user", "--remove"]).output


def test_a_configuration_that_cannot_be_used_yet_is_told_of(folder):
    path = folder.parents[1] / "mine.json"
    for text, is_told in (
        (None, True),
        ("{", True),
        ('{"mcpServers": {"a": {"command": "a"}}}', False),
    ):
        if text is not None:
            path.write_text(text)
        done = run(["--user", "--config", str(path)])
        assert done.exit_code == 0
        assert (f"`onemcp check {path}` says why" in done.output) == is_told
    assert "says why" not in run(["--user", "--remove"]).output


def test_units_of_somebody_else_are_left_alone(folder):
    folder.mkdir(parents=True)
    theirs = folder / "onemcp.service"
    theirs.write_text("[Service]\nExecStart=/bin/true\n")
    for arguments in ([], ["--remove"], ["--socket", "127.0.0.1:1"]):
        done = run(["--user", *arguments])
        assert done.exit_code == 1
        assert "not written by onemcp" in done.output
    assert [path.name for path in folder.iterdir()] == ["onemcp.service"]
    assert MARK not in theirs.read_text()


def test_units_are_printed_without_being_written(folder):
    done = run(["--system", "--print", "--account", "mcp"])
    assert "User=mcp\n" in done.output
    assert "/etc/systemd/system/onemcp.service" in done.output
    assert not folder.exists()


def test_what_cannot_be_written_is_said(folder):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file")
    done = run(["--user"])
    assert done.exit_code == 73
    assert str(folder) in done.output
