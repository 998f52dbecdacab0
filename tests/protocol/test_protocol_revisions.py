"""Revisions and eras."""

from __future__ import annotations

import mcp_types.version as official
import pytest

from onemcp.protocol.revisions import (
    LATEST_LEGACY,
    LATEST_MODERN,
    LEGACY_REVISIONS,
    MODERN_REVISIONS,
    REVISIONS,
    Era,
    allows_batches,
    era_of,
    negotiate_legacy,
)


def test_every_released_revision_is_spoken():
    assert official.KNOWN_PROTOCOL_VERSIONS == REVISIONS
    assert official.HANDSHAKE_PROTOCOL_VERSIONS == LEGACY_REVISIONS
    assert official.MODERN_PROTOCOL_VERSIONS == MODERN_REVISIONS
    assert (LATEST_LEGACY, LATEST_MODERN) == ("2025-11-25", "2026-07-28")


@pytest.mark.parametrize("revision", LEGACY_REVISIONS)
def test_revisions_with_a_handshake_are_legacy(revision):
    assert era_of(revision) is Era.LEGACY
    assert negotiate_legacy(revision) == revision


@pytest.mark.parametrize("revision", MODERN_REVISIONS)
def test_stateless_revisions_are_modern_and_not_negotiated_by_a_handshake(revision):
    assert era_of(revision) is Era.MODERN
    assert negotiate_legacy(revision) == LATEST_LEGACY


@pytest.mark.parametrize("revision", ["", "2025-11-26", "DRAFT", "2026-07-28 ", "1.0"])
def test_unknown_revisions_have_no_era(revision):
    assert era_of(revision) is None
    assert negotiate_legacy(revision) == LATEST_LEGACY


def test_batches_exist_in_one_revision_only():
    assert [revision for revision in REVISIONS if allows_batches(revision)] == ["2025-03-26"]
