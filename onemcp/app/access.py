"""Who may come in, as the configuration says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from onemcp.auth import Gate, KeyStore, Principal, Scope, TokenVerifier, no_more, rights_of
from onemcp.auth.server import (
    Audited,
    AuthorizationServer,
    Documents,
    Ledger,
    LoginCode,
    Records,
)
from onemcp.config import Configuration, ConfigurationError, Problem, watch
from onemcp.outbound import Answer
from onemcp.state import StateError

from .events import GrantsUnreadable
from .issuers import Issuers
from .keys import SigningKeys
from .policy import check_policy, policy_of

if TYPE_CHECKING:
    from onemcp.outbound.public import PublicInternet


class Access:
    """Makes the gates of one gateway; its keys are read when they are first needed.

    Attributes:
        keys: What tokens are signed and verified with.
        on_keys: Called when the keys have changed, so that gates have to be made anew.
        issuers: The keys of authorization servers elsewhere.
        server: The gateway's own authorization server, or None while it is not needed.
    """

    def __init__(
        self,
        load_keys: Callable[[], KeyStore],
        state: Path | None = None,
        *,
        audit: Callable[[Audited], object] = lambda _: None,
        login_code: LoginCode | None = None,
    ) -> None:
        """Make gates; nothing is read yet.

        Args:
            load_keys: Reads the keys; may block and raise a StateError.
            state: The directory where the authorization server keeps what was granted; without
                one, clients get their tokens from the operator only.
            audit: Takes what the authorization server writes down.
            login_code: The code on the terminal, if there is one.
        """
        self.keys = SigningKeys(load_keys, state)
        self.keys.on_change = self._take_keys
        self.keys.issued = self._issued
        self.on_keys: Callable[[], object] = lambda: None
        self.issuers = Issuers()
        self.server: AuthorizationServer | None = None
        self._state = state
        self._audit = audit
        self._login_code = login_code
        self._has_server = trio.Event()

    @property
    def people(self) -> frozenset[str]:
        """The names of those who may log in."""
        return frozenset() if self.server is None else frozenset(self.server.policy.people)

    async def prepare(self, configuration: Configuration) -> None:
        """Read what a configuration needs.

        Raises:
            StateError: The keys, or what was granted, can't be read or made.
            ConfigurationError: A file with keys of another issuer can't be used, or a user or a
                client can't be right.
        """
        check_policy(configuration)
        if configuration.auth.mode == "local":
            await self._prepare_own(configuration)
        await self.issuers.prepare(configuration)

    async def _prepare_own(self, configuration: Configuration) -> None:
        await self.keys.prepare(configuration)
        keys = self.keys.of(configuration)
        if self.server is None and self._state is not None and keys is not None:
            ledger = Ledger(self._state)
            await ledger.refresh()
            self.server = AuthorizationServer(
                keys,
                ledger,
                policy_of(configuration),
                audit=self._audit,
                login_code=self._login_code,
                fetch_client=Documents(_FromInternet().get, time.time),
            )
            self._has_server.set()

    async def prepare_again(self, configuration: Configuration) -> None:
        """Do the same for a configuration that is to replace another.

        Raises:
            ConfigurationError: It can't be put in force.
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
        auth, address = configuration.auth, configuration.server
        local = auth.mode == "local"
        server = self.server if local else None
        external = self.issuers.external(configuration)
        keys = self.keys.of(configuration) if local else None
        verifier = TokenVerifier(keys, external=external)
        rights: Callable[[Principal], Iterable[Scope]] = rights_of
        attainable: Callable[[Principal], Iterable[Scope]] = no_more
        if server is not None:
            verifier = TokenVerifier(keys, stands=server.stands)
            rights, attainable = server.rights, server.attainable
        return Gate(
            mode=auth.mode,
            verifier=None if auth.mode == "none" else verifier,
            issuers=[issuer.name for issuer in external],
            own_issuer=server is not None,
            public_url=address.public_url,
            allowed_hosts=address.allowed_hosts,
            allowed_origins=address.allowed_origins,
            bound_hosts=bound_hosts,
            rights=rights,
            attainable=attainable,
        )

    def reconfigure(self, configuration: Configuration) -> None:
        """Let the authorization server go by a configuration that has been prepared for."""
        self.keys.use(configuration)
        self._sign()
        if self.server is not None:
            self.server.policy = policy_of(configuration)

    def _take_keys(self) -> None:
        self._sign()
        self.on_keys()

    def _sign(self) -> None:
        keys = self.keys.current
        if self.server is not None and keys is not None:
            self.server.keys = keys

    def _issued(self) -> Iterable[float]:
        records = Records() if self.server is None else self.server.ledger.records
        return [token.issued for token in records.tokens.values()]

    async def watch(
        self, on_event: Callable[[object], object], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """See what other processes change of what was granted, until cancelled."""
        task_status.started()
        await self._has_server.wait()
        assert self.server is not None  # noqa: S101  (for mypy)
        refresh = partial(self._refresh, self.server, on_event)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch, self.server.ledger.path, refresh)
            await refresh()  # what was changed before

    async def _refresh(
        self, server: AuthorizationServer, on_event: Callable[[object], object]
    ) -> None:
        try:
            await server.ledger.refresh()
        except StateError as error:
            on_event(GrantsUnreadable(str(error)))


class _FromInternet:
    """Gets documents from the public Internet; what it does so with is imported for the first."""

    def __init__(self) -> None:
        self._internet: PublicInternet | None = None

    async def get(self, url: str, *, max_body: int, patience: float) -> Answer:
        """Get a document; see `PublicInternet.get`."""
        if self._internet is None:
            # It takes a while, and nobody else shall wait for it.
            public = await trio.to_thread.run_sync(import_module, "onemcp.outbound.public")
            self._internet = public.PublicInternet()
        assert self._internet is not None  # noqa: S101  (for mypy)
        return await self._internet.get(url, max_body=max_body, patience=patience)
