"""The JSON Schema of the configuration."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _text() -> str:
    return files("onemcp.config").joinpath("schema.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration, as a fresh copy."""
    loaded: dict[str, Any] = json.loads(_text())
    return loaded
