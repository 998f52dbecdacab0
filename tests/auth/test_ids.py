"""Ids that people hand to commands."""

from __future__ import annotations

import secrets

import pytest

from onemcp.auth._ids import new_id


def test_an_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch):
    made = iter(["-Hxme", "--all", "a-b"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: next(made))
    assert new_id() == "a-b"
