"""Room of onemcp: what outlives the process.

Most of it is kept by clients, which get it sealed: a `Sealer` makes texts that only the same
`Keyring` opens, each kind of them for a purpose of its own.
"""

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
    "is_sealed",
]
