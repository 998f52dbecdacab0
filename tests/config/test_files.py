"""Where the configuration is found, and where state is kept."""

from pathlib import Path

import pytest

from onemcp.config import configuration_directory, find, state_directory


@pytest.fixture
def home(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / ".config/onemcp").mkdir(parents=True)
    return tmp_path


def test_the_file_asked_for_is_used_even_when_it_is_missing(home):
    assert find(home / "absent", home, {}) == home / "absent"


def test_the_directory_comes_before_the_user(home):
    environ = {"HOME": str(home)}
    assert find(None, home / "work", environ) is None
    of_user = home / ".config/onemcp/onemcp.json"
    of_user.touch()
    assert find(None, home / "work", environ) == of_user
    here = home / "work/onemcp.json"
    here.symlink_to("nowhere")  # better a complaint about it than another configuration
    assert find(None, home / "work", environ) == here


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.config/onemcp"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}, "/c/onemcp"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}, "/h/.config/onemcp"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": ""}, "/h/.config/onemcp"),
    ],
)
def test_the_configuration_directory_follows_xdg(environ, expected):
    assert configuration_directory(environ) == Path(expected)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.local/state/onemcp"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/onemcp"),
        ({"HOME": "/h", "STATE_DIRECTORY": "/var/lib/onemcp"}, "/var/lib/onemcp"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
    ],
)
def test_the_state_directory_follows_systemd_then_xdg(environ, expected):
    assert state_directory(environ) == Path(expected)


def test_without_a_home_the_account_has_one(monkeypatch):
    monkeypatch.setenv("HOME", "/account")
    assert state_directory({}) == Path("/account/.local/state/onemcp")
