"""What this program calls itself on the wire."""

from __future__ import annotations

from typing import Final

NAME: Final = "onemcp"

VERSION: Final = "0.1.0"
"""The version in `pyproject.toml`. To read that from what is installed takes the parser of e-mail
and 30 more modules: 2 MiB, and 2 % of what it takes to start."""
