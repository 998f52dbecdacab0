"""The control socket, as the machine sees it: made, found alive, and who is at its other end.

It knows nothing of what is said over it, so that commands that only ask need nothing else.
"""

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
    "peer_of",
]
