"""Room of onemcp: what outlives the process.

Most of it is kept by clients, which get it sealed: a `Sealer` makes texts that only the same
`Keyring` opens, each kind of them for a purpose of its own. The rest is in the state directory:
the keys, and a `Ledger` of what has become of what was sealed.
"""

from onemcp.state._errors import StateError, StateUnwritable
from onemcp.state._files import (
    create_private,
    read_or_create,
    read_private,
    read_shared,
    try_lock,
    update,
)
from onemcp.state._jwks import from_base64url, listed_keys, to_base64url
from onemcp.state._keyfile import load_keyring, load_or_create_keyring
from onemcp.state._ledger import Forgotten, Ledger, Note, ledger_in_memory, open_ledger
from onemcp.state._sealing import (
    KEY_BYTES,
    Keyring,
    SealBroken,
    Sealer,
    is_sealed,
)

__all__ = [
    "KEY_BYTES",
    "Forgotten",
    "Keyring",
    "Ledger",
    "Note",
    "SealBroken",
    "Sealer",
    "StateError",
    "StateUnwritable",
    "create_private",
    "from_base64url",
    "is_sealed",
    "ledger_in_memory",
    "listed_keys",
    "load_keyring",
    "load_or_create_keyring",
    "open_ledger",
    "read_or_create",
    "read_private",
    "read_shared",
    "to_base64url",
    "try_lock",
    "update",
]
