"""How others start the onemcp that runs."""

from __future__ import annotations

import sys
import zipfile

from onemcp.runtime import own_command


def test_what_is_installed_is_a_module_of_its_python(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "onemcp")])
    assert own_command() == (sys.executable, "-m", "onemcp")
    (tmp_path / "onemcp").write_text("#!/usr/bin/python\n")
    assert own_command() == (sys.executable, "-m", "onemcp")


def test_a_zipapp_is_started_as_itself_from_wherever(monkeypatch, tmp_path):
    with zipfile.ZipFile(tmp_path / "onemcp.pyz", "w") as archive:
        archive.writestr("__main__.py", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["onemcp.pyz"])
    assert own_command() == (sys.executable, str(tmp_path / "onemcp.pyz"))


def test_an_executable_is_the_file_that_was_started_not_what_it_has_unpacked(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setenv("ONEMCP_EXECUTABLE", "/opt/onemcp")
    assert own_command() == ("/opt/onemcp",)
    monkeypatch.delenv("ONEMCP_EXECUTABLE")
    assert own_command() == (sys.executable,)
