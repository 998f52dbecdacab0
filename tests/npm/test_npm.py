"""The official packages are there at exact versions, or it is said why they are not."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import npm


@pytest.fixture
def no_npm(monkeypatch, tmp_path):
    """A machine without npm, on which nothing is installed yet."""
    monkeypatch.setattr(npm, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))


def test_manifest_names_exact_versions():
    dependencies = json.loads(npm.MANIFEST.read_text())["dependencies"]
    inexact = {
        name: version
        for name, version in dependencies.items()
        if not re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version)
    }
    assert inexact == {}


def test_without_npm_the_error_says_so(no_npm):
    with pytest.raises(npm.NpmError, match="npm is not installed"):
        npm.install()


def test_without_npm_tests_are_left_out(no_npm, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="npm is not installed"):
        npm.installed()


def test_without_npm_tests_fail_on_ci(no_npm, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="npm is not installed"):
        npm.installed()


def test_what_is_installed_is_not_installed_again(no_npm):
    target = npm.CACHE / npm._key()
    target.mkdir(parents=True)
    assert npm.install() == npm.Installation(target)
