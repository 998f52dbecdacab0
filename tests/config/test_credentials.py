"""`${credential:NAME}`: what systemd hands over as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from onemcp.config import ConfigurationError, parse
from onemcp.config import _variables as module

SOURCE = '{"mcpServers": {"a": {"url": "https://x.example", "headers": {"X-Key": "%s"}}}}'


def header(value: str, folder: Path | None) -> str:
    environ = {} if folder is None else {"CREDENTIALS_DIRECTORY": str(folder)}
    configuration = parse(SOURCE % value, source="f", environ=environ)
    return configuration.backends[0].transport.headers["X-Key"]  # type: ignore[union-attr]


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n", "${HOME}"])
def test_a_credential_stands_for_what_its_file_holds(tmp_path, content):
    (tmp_path / "my-key.txt").write_text(content)
    said = "Bearer ${credential:my-key.txt}!"
    assert header(said, tmp_path) == f"Bearer {content.strip()}!"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the credential key can't be read: No such file or directory"),
        (b"\xff", "the credential key is not text in UTF-8"),
        (b"x" * (module.MOST_BYTES + 1), "the credential key is too large"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(tmp_path, content, message):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        header("${credential:key}", tmp_path)


def test_without_a_manager_the_remedy_names_the_option():
    with pytest.raises(ConfigurationError, match="LoadCredential=key:FILE"):
        header("${credential:key}", None)


@pytest.mark.parametrize("name", ["../key", "a/b", "", ".hidden"])
def test_no_name_leads_out_of_the_directory(tmp_path, name):
    (tmp_path.parent / "key").write_text("no")
    with pytest.raises(ConfigurationError, match="not followed by the name"):
        header(f"${{credential:{name}}}", tmp_path)
