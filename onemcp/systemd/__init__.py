"""What systemd and a service say to each other. Knows nothing of MCP.

:class:`Notifier` tells how the service is (sd_notify(3)), :func:`inherited_sockets` takes what it
listens on for it (sd_listen_fds(3)), and :mod:`._unit` writes the unit files. Where there is no
systemd nothing of this does anything.
"""

from onemcp.systemd._notify import Notifier, watchdog_seconds
from onemcp.systemd._sockets import ActivationError, inherited_listener, inherited_sockets
from onemcp.systemd._unit import (
    MARK,
    Installation,
    NotOurs,
    service_unit,
    socket_unit,
    systemd_version,
)

__all__ = [
    "MARK",
    "ActivationError",
    "Installation",
    "NotOurs",
    "Notifier",
    "inherited_listener",
    "inherited_sockets",
    "service_unit",
    "socket_unit",
    "systemd_version",
    "watchdog_seconds",
]
