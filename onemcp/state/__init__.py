"""Room of onemcp: what outlives the process.

Most of it is kept by clients, which get it sealed: a `Sealer` makes texts that only the same
`Keyring` opens, each kind of them for a purpose of its own. The rest is in the state directory.
"""

from onemcp.state._errors import StateError
from onemcp.state._files import read_or_create, read_private, update
from onemcp.state._sealing import (
    KEY_BYTES,
    Keyring,
    SealBroken,
    Sealer,
    is_sealed,
)

__all__ = [
    "KEY_BYTES",
    "Keyring",
    "SealBroken",
    "Sealer",
    "StateError",
    "is_sealed",
    "read_or_create",
    "read_private",
    "update",
]
