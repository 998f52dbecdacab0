"""Who may come in, as the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from onemcp.auth import Gate, KeyStore, TokenVerifier
from onemcp.config import Configuration, ConfigurationError, Problem
from onemcp.state import StateError

from .issuers import Issuers


class Access:
    """Makes the gates of one gateway; its keys are read when they are first needed.

    Attributes:
        keys: What tokens are signed and verified with, or None while none are needed.
        issuers: The keys of authorization servers elsewhere.
    """

    def __init__(self, load_keys: Callable[[], KeyStore]) -> None:
        """Read keys by `load_keys`, which may block and raise a StateError."""
        self.keys: KeyStore | None = None
        self.issuers = Issuers()
        self._load_keys = load_keys

    async def prepare(self, configuration: Configuration) -> None:
        """Read the keys if a configuration needs them.

        Raises:
            StateError: They can't be read or made.
            ConfigurationError: A file with keys of another issuer can't be used.
        """
        if configuration.auth.mode == "local" and self.keys is None:
            self.keys = await trio.to_thread.run_sync(self._load_keys)
        await self.issuers.prepare(configuration)

    async def prepare_again(self, configuration: Configuration) -> None:
        """Do the same for a configuration that is to replace another.

        Raises:
            ConfigurationError: The keys can't be read or made, so it can't be put in force.
        """
        try:
            await self.prepare(configuration)
        except StateError as error:
            remedy = 'Mend that, or leave "auth" as it was'
            message = f"the keys can't be used: {error}"
            problem = Problem(file="", path="auth.mode", message=message, remedy=remedy)
            raise ConfigurationError((problem,)) from error

    def gate(self, configuration: Configuration, bound_hosts: Sequence[str]) -> Gate:
        """Return the gate of a configuration that has been prepared for.

        Args:
            configuration: What is to be served.
            bound_hosts: The addresses and names that are listened on.
        """
        auth, server = configuration.auth, configuration.server
        own = self.keys if auth.mode == "local" else None
        external = self.issuers.external(configuration)
        return Gate(
            mode=auth.mode,
            verifier=None if auth.mode == "none" else TokenVerifier(own, external=external),
            issuers=[issuer.name for issuer in external],
            public_url=server.public_url,
            allowed_hosts=server.allowed_hosts,
            allowed_origins=server.allowed_origins,
            bound_hosts=bound_hosts,
        )
