"""The control socket, as the machine sees it, and the command that started this process.

It knows nothing of what is said over it, so that commands that only ask need nothing else.
"""

from onemcp.runtime._program import own_command
from onemcp.runtime._socket import (
    ControlSocket,
    Peer,
    SocketInUse,
    SocketUnusable,
    is_alive,
    is_trusted,
    open_socket,
    peer_of,
)

__all__ = [
    "ControlSocket",
    "Peer",
    "SocketInUse",
    "SocketUnusable",
    "is_alive",
    "is_trusted",
    "open_socket",
    "own_command",
    "peer_of",
]
