"""What this program calls itself, on the wire and in tokens."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

NAME: Final = "onemcp"
VERSION: Final = version(NAME)

ISSUER: Final = "onemcp"
"""The issuer of tokens that the gateway's own key signs."""

AUDIENCE: Final = "onemcp"
"""Whom such tokens are for."""
