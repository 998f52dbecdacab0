"""Secrets in every place of a configuration that can hold one."""

from __future__ import annotations

import base64
import secrets
import sys
from pathlib import Path
from typing import Any

from tests.support import logging_in
from tests.support.passwords import hashed
from tests.support.running import MARKER

TALKER = Path(__file__).parent / "programs" / "talker.py"
GONE = {"restart": {"intensity": 0, "cooldown": 3600}}
"""Settings of a backend that isn't tried again."""
SHOWN = 10
"""How many characters of a secret are too many."""


class Secrets(dict[str, str]):
    """Secrets by what they are."""

    def new(self, name: str) -> str:
        """Return a secret that looks like nothing in particular."""
        self[name] = f"Q{secrets.token_hex(12)}"
        return self[name]

    def found_in(self, data: str | bytes) -> set[str]:
        """Return the names of those of which a good part is in a text."""
        text = data if isinstance(data, str) else data.decode("latin-1")
        return {name for name, value in self.items() if value[:SHOWN] in text}


def configuration(known: Secrets, addresses: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return a configuration with a secret wherever there can be one."""
    (folder / "bearer").write_text(known.new("bearer in a file"))
    several = f"{known.new('first line')}\n{known.new('second line')}"
    quoted = f"{known.new('quoted')}\"\\'é"
    talker = {
        "command": sys.executable,
        "args": ["-S", "-E", str(TALKER)],
        "env": {
            "SERVICE": known.new("env"),
            "KEYS": several,
            "QUOTED": quoted,
            "PLAIN": "${PLAIN}",
        },
        "inherit": [MARKER, "HANDED_ON"],
    }
    backends: dict[str, Any] = {
        "talker": talker,
        "other": {**talker, "env": {"OTHER": known.new("other env")}},
    }
    for name, address in addresses.items():
        user, password = known.new(f"{name}: user"), known.new(f"{name}: password")
        url = f"http://{user}:{password}@{address}/{known.new(f'{name}: path')}/mcp"
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        known[f"{name}: user and password"] = pair
        query = f"key={known.new(f'{name}: query')}"
        header = {"X-Service": known.new(f"{name}: header")}
        backends[name] = {"url": f"{url}?{query}", "headers": header, "type": "http", **GONE}
    host = addresses["guarded"]
    backends["guarded"] = {
        "url": f"http://{host}/guarded",
        "type": "http",
        "auth": {
            "type": "client_credentials",
            "clientId": "onemcp",
            "clientSecret": known.new("client secret of onemcp"),
        },
        **GONE,
    }
    for name, source in (
        ("file", {"tokenFile": str(folder / "bearer")}),
        ("variable", {"tokenVariable": "BEARER"}),
    ):
        login = {"type": "bearer", **source}
        url = f"http://{addresses['denies']}/mcp"
        backends[name] = {"url": url, "type": "http", "auth": login, **GONE}
    known["password"] = logging_in.PASSWORD
    password = hashed(logging_in.PASSWORD)
    known["hash of the password"] = password.rpartition("$")[2]
    service = {"secret": known.new("client secret"), "scopes": ["mcp"]}
    return {
        "mcpServers": backends,
        "auth": {"users": {"ada": {"password": password}}, "clients": {"service": service}},
        "log": {"level": "debug", "format": "json"},
    }
