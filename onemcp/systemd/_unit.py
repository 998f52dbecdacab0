"""The unit files, written for the systemd that is there, and put in place so that it can be undone.

The service is confined as far as programs of others can live with: what Node.js and other
just-in-time compilers need (memory that is written and then executed) is left to them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

MARK: Final = "# Written by onemcp install-service; it takes away what has this line."
NOTIFY_RELOAD: Final = 253
"""The first version that has Type=notify-reload (systemd.service(5))."""

NEWEST: Final = 255

_SERVICE: Final = """\
{mark}
[Unit]
Description=onemcp, many MCP servers as one
{after}
[Service]
{kind}
NotifyAccess=main
{user}ExecStart={command}
WatchdogSec=30
Restart=on-failure
RestartSec=1
# A wrong command line, unusable keys and an unusable configuration do not get better by trying.
RestartPreventExitStatus=2 73 78
# Longer than server.shutdownGrace and the longest timeouts.stop together.
TimeoutStopSec=60
# onemcp stops the backends when the calls under way are over; what is left then is killed.
KillMode=mixed
UMask=0077
{confined}
[Install]
WantedBy={wanted_by}
"""

_SOCKET: Final = """\
{mark}
[Unit]
Description=onemcp, the socket that clients connect to

[Socket]
ListenStream={address}
FileDescriptorName=http
NoDelay=yes
Backlog=1024

[Install]
WantedBy=sockets.target
"""

_NETWORK: Final = """\
Wants=network-online.target
After=network-online.target
"""

_NEW_TYPE: Final = "Type=notify-reload"
_OLD_TYPE: Final = "Type=notify\nExecReload=/bin/kill -HUP $MAINPID"

_CONFINED: Final = """\
StateDirectory=onemcp
StateDirectoryMode=0700
RuntimeDirectory=onemcp
RuntimeDirectoryMode=0700
# Where npx, uvx and the like keep what they download.
Environment=HOME=%S/onemcp
# Secrets, one NAME=value a line; or LoadCredential=NAME:FILE, and ${credential:NAME} in the file.
EnvironmentFile=-/etc/onemcp/environment

NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
# AF_NETLINK: programs ask it for the addresses of the machine.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=:,./-]+")


def service_unit(
    command: Sequence[str], *, user: str | None, version: int = NEWEST, socket: bool = False
) -> str:
    """Return the unit of the service.

    Args:
        command: What is run.
        user: The account it runs as, for the system's manager; None for a user's own manager,
            which can confine it only where the kernel lets users do so.
        version: The version of systemd.
        socket: Whether a socket is opened for it.
    """
    after = "" if user is None else _NETWORK
    if socket:
        after += "Requires=onemcp.socket\nAfter=onemcp.socket\n"
    return _SERVICE.format(
        mark=MARK,
        after=after,
        kind=_NEW_TYPE if version >= NOTIFY_RELOAD else _OLD_TYPE,
        user="" if user is None else f"User={user}\n",
        command=" ".join(map(_quoted, command)),
        confined="NoNewPrivileges=yes\n" if user is None else _CONFINED,
        wanted_by="default.target" if user is None else "multi-user.target",
    )


def socket_unit(address: str) -> str:
    """Return the unit of the socket: systemd listens, and keeps listening during restarts.

    Args:
        address: The address and port, as ``127.0.0.1:8722``.
    """
    return _SOCKET.format(mark=MARK, address=address)


def systemd_version() -> int:
    """Return the version of systemd that is there; the newest where that can't be told. Blocks."""
    try:
        said = subprocess.run(
            ["systemctl", "--version"],  # noqa: S607 - wherever it is
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return NEWEST
    match = re.match(r"systemd (\d+)", said)
    return int(match[1]) if match else NEWEST


class NotOurs(Exception):
    """There is a unit already that somebody else has written."""


@attrs.frozen
class Installation:
    """Unit files in a folder.

    Attributes:
        folder: Where the manager looks for them.
        units: What they hold, by their names.
    """

    folder: Path
    units: Mapping[str, str]

    def write(self) -> list[Path]:
        """Write all of them, each as a whole or not at all; return where they are.

        Raises:
            NotOurs: One is there already, written by somebody else. Nothing was written.
            OSError: They can't be written.
        """
        paths = [self.folder / name for name in self.units]
        for path in paths:
            if path.exists() and not _is_ours(path):
                raise NotOurs(f"{path} is there, and was not written by onemcp: move it away")
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            new = path.with_name(f".{path.name}.new")
            try:
                new.write_text(self.units[path.name], encoding="utf-8")
                os.replace(new, path)  # noqa: PTH105 - atomic
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        return paths

    def remove(self) -> list[Path]:
        """Take away those that were written; return where they have been.

        Raises:
            NotOurs: One was written by somebody else. Nothing was taken away.
            OSError: They can't be taken away.
        """
        paths = [path for name in self.units if (path := self.folder / name).exists()]
        for path in paths:
            if not _is_ours(path):
                raise NotOurs(f"{path} was not written by onemcp; it stays")
        for path in paths:
            path.unlink()
        return paths


def _is_ours(path: Path) -> bool:
    return MARK in path.read_text(encoding="utf-8", errors="replace").splitlines()


def _quoted(word: str) -> str:
    """Write a word as systemd reads it (systemd.service(5), "Command lines")."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
