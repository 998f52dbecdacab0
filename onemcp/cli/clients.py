"""The MCP clients that onemcp can be written into, and that servers can be taken over from."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from onemcp.config import insert_member, plain_json, remove_member

LARGEST_FILE: Final = 16 * 1024 * 1024
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


class UnknownShape(ValueError):
    """A client's file is not as it should be."""


@attrs.frozen
class Client:
    """One MCP client.

    Attributes:
        name: What it is called on the command line.
        title: What it calls itself.
        home: Its file, below the home directory.
        mac: Its file on macOS, below the home directory, where that is another.
        keys: Where in the file the servers are.
        extra: What each entry of its own has besides.
    """

    name: str
    title: str
    home: str
    keys: tuple[str, ...] = ("mcpServers",)
    mac: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    def path(self, environ: Mapping[str, str]) -> Path:
        """Return its file, which need not exist."""
        below = self.mac if self.mac is not None and sys.platform == "darwin" else self.home
        home = Path(environ.get("HOME") or Path.home())
        configured = environ.get("XDG_CONFIG_HOME", "")
        if below.startswith(".config/") and os.path.isabs(configured):  # noqa: PTH117  (as XDG says)
            return Path(configured) / below.removeprefix(".config/")
        return home / below

    @property
    def is_toml(self) -> bool:
        """Whether its file is TOML."""
        return self.home.endswith(".toml")

    def servers(self, text: str) -> dict[str, Any]:
        """Return the servers in the text of its file, as they stand there.

        Raises:
            UnknownShape: The text is something else.
        """
        return servers_in(text, self.keys, toml=self.is_toml)

    def with_server(self, text: str, name: str, entry: Mapping[str, Any]) -> str:
        """Return the text with one more server; what else it holds stays as it is.

        Raises:
            UnknownShape: The text is something else.
        """
        if self.is_toml:
            lines = [f"[{'.'.join([*self.keys, _toml_key(name)])}]"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
            before = f"{text.rstrip()}\n\n" if text.strip() else ""
            return before + "\n".join(lines) + "\n"
        try:
            return insert_member(text if text.strip() else "{}\n", self.keys, name, dict(entry))
        except ValueError as error:
            raise UnknownShape(str(error)) from error

    def without_server(self, text: str, name: str) -> str:
        """Return the text without a server.

        Raises:
            UnknownShape: The text is something else.
        """
        if not self.is_toml:
            try:
                return remove_member(text, self.keys, name)
            except ValueError as error:
                raise UnknownShape(str(error)) from error
        table = re.escape(".".join([*self.keys, _toml_key(name)]))
        block = re.compile(
            rf"^\[{table}(?:\.[^\]\n]*)?\][ \t]*\n(?:(?!\[).*(?:\n|\Z))*", re.MULTILINE
        )
        return block.sub("", text).rstrip() + "\n"


def servers_in(text: str, keys: tuple[str, ...], *, toml: bool = False) -> dict[str, Any]:
    """Return the servers at a place in a document; none where there is nothing.

    Raises:
        UnknownShape: The document is something else.
    """
    try:
        value: Any = tomllib.loads(text) if toml else plain_json(text) if text.strip() else {}
    except ValueError as error:
        raise UnknownShape(f"it is no {'TOML' if toml else 'JSON'}: {error}") from error
    for key in ("", *keys):
        value = value.get(key, {}) if key else value
        if not isinstance(value, dict):
            raise UnknownShape(f"{key or 'the document'} is not a table of servers")
    servers: dict[str, Any] = value
    if not all(isinstance(entry, dict) for entry in servers.values()):
        raise UnknownShape(f"{keys[-1]} holds what is no server")
    return servers


def _toml_key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


_STDIO: Final = MappingProxyType({"type": "stdio"})

CLIENTS: Final[Mapping[str, Client]] = MappingProxyType(
    {
        client.name: client
        for client in (
            Client(
                "claude-desktop",
                "Claude Desktop",
                ".config/Claude/claude_desktop_config.json",
                mac="Library/Application Support/Claude/claude_desktop_config.json",
            ),
            Client("claude-code", "Claude Code", ".claude.json", extra=_STDIO),
            Client("cursor", "Cursor", ".cursor/mcp.json"),
            Client(
                "vscode",
                "VS Code",
                ".config/Code/User/mcp.json",
                keys=("servers",),
                mac="Library/Application Support/Code/User/mcp.json",
                extra=_STDIO,
            ),
            Client("windsurf", "Windsurf", ".codeium/windsurf/mcp_config.json"),
            Client("zed", "Zed", ".config/zed/settings.json", keys=("context_servers",)),
            Client("codex", "Codex", ".codex/config.toml", keys=("mcp_servers",)),
        )
    }
)
"""The clients, by name."""

PLACES: Final = tuple(dict.fromkeys(client.keys for client in CLIENTS.values()))
"""Where servers may be in a file of which the client isn't known."""


def servers_anywhere(text: str, *, toml: bool) -> dict[str, Any]:
    """Return the servers in a file of which the client isn't known.

    Raises:
        UnknownShape: There are none.
    """
    for keys in PLACES:
        found = servers_in(text, keys, toml=toml)
        if found:
            return found
    raise UnknownShape(f"it has none of {', '.join('.'.join(keys) for keys in PLACES)}")
