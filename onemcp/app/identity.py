"""What this program calls itself on the wire."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

NAME: Final = "onemcp"
VERSION: Final = version(NAME)
