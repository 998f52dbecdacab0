"""Logins at backends that come back through the gateway (2026-07-28, Authorization).

Theory of operation: what a login needs to know when its browser comes back waits in the state
directory (:mod:`onemcp.backend.oauth._waiting`), so it doesn't matter which process has begun it:
`onemcp login` does for logins that everybody shares, a page of the gateway for those of its users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial

import attrs
import trio

from onemcp import config
from onemcp.auth.server import Audited, What, origin_of
from onemcp.backend.oauth import (
    LoginRecord,
    LoginStore,
    OAuthError,
    PendingLogin,
    StoredAt,
    WaitingLogin,
    begin_login,
    digest,
)
from onemcp.backend.places import callback_at, document_at
from onemcp.state import StateError
from onemcp.web import LoginFailed, Offer

from .authorizing import brings_its_own, flow_for


class LoginImpossible(Exception):
    """There is nobody to log in at, or no way to; the message says what to do."""


class UnknownServer(LoginImpossible):
    """The configuration has no such backend; the message names the nearest."""


@attrs.frozen
class Target:
    """A backend that somebody can log in at.

    Attributes:
        name: Its name.
        transport: How it is reached.
        login: What the configuration says of the login.
        replica: Which of several addresses it is; "" where it is the only one.
    """

    name: str
    transport: config.HttpTransport
    login: config.AuthorizationCodeLogin
    replica: str = ""

    @classmethod
    def find(cls, configuration: config.Configuration, name: str, replica: str = "") -> Target:
        """Find it in a configuration.

        Args:
            configuration: Where.
            name: The name of the backend.
            replica: Which of its addresses, where it has several.

        Raises:
            UnknownServer: There is no such backend.
            LoginImpossible: There is nothing to log in at, or it is not said where.
        """
        backend = configuration.backend(name)
        if backend is None:
            known = [each.name for each in configuration.backends]
            near = get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There is {', '.join(known)}."
            raise UnknownServer(f"There is no server {name!r} in the configuration. {hint}")
        transport = backend.transport
        if not isinstance(transport, config.HttpTransport):
            raise LoginImpossible(
                f"{name!r} is a program: it gets what it needs through its `env`."
            )
        transport = _address(backend, transport, replica)
        login = transport.auth or config.AuthorizationCodeLogin()
        if not isinstance(login, config.AuthorizationCodeLogin) or brings_its_own(transport):
            raise LoginImpossible(
                f"The configuration says how onemcp logs in at {name!r}: no need to."
            )
        return cls(name, transport, login, replica)

    def place(self, store: LoginStore, user: str = "") -> StoredAt:
        """Return where the login is stored, that of a user or the one that everybody shares."""
        return StoredAt(store, self.name, self.transport.url, user, self.replica)

    async def begin(
        self, place: StoredAt, redirect_uri: str, document: str | None = None
    ) -> PendingLogin:
        """Find out where to send a browser.

        Args:
            place: Where the login is to be stored.
            redirect_uri: Where the browser is to come back to.
            document: The address of onemcp's own metadata document, where that names
                `redirect_uri`; one of the configuration goes before it.

        Raises:
            OAuthError: No login is possible.
            StateError: What is stored can't be read.
        """
        login, shared = self.login, attrs.evolve(place, user="")
        if login.client_metadata_url is None:
            login = attrs.evolve(login, client_metadata_url=document)
        before = await trio.to_thread.run_sync(place.load)
        others = await trio.to_thread.run_sync(shared.load) if place.user else None
        pending = await begin_login(
            flow_for(self.transport),
            login,
            redirect_uri,
            before=before,
            headers=self.transport.headers,
            others=() if others is None else (others.registration,),
        )
        if place.user and pending.registration.dynamic:
            # onemcp is one client there, whoever of its users logs in.
            known = partial(_registered, place=shared, pending=pending)
            await trio.to_thread.run_sync(shared.change, known)
        return pending


def _address(
    backend: config.Backend, transport: config.HttpTransport, replica: str
) -> config.HttpTransport:
    """Return how one of the addresses of a backend is reached, each of which has its own login."""
    if not transport.others:
        if replica:
            raise LoginImpossible(f"{backend.name!r} has one address: leave `--replica` out.")
        return transport
    replicas = backend.of_replicas()
    found = replicas[replica].transport if replica in replicas else None
    if not isinstance(found, config.HttpTransport):
        raise LoginImpossible(
            f"{backend.name!r} has several addresses, each of which has its own login. "
            f"Say which one with `--replica`: {', '.join(replicas)}."
        )
    return found


def _registered(_: LoginRecord | None, *, place: StoredAt, pending: PendingLogin) -> LoginRecord:
    return LoginRecord(
        place.backend, place.url, pending.resource, pending.token_endpoint, pending.registration
    )


class UpstreamLogins:
    """Logins that come back through this gateway; what its pages ask."""

    def __init__(
        self,
        store: LoginStore,
        configuration: config.Configuration,
        audit: Callable[[Audited], object] = lambda _: None,
        may_use: Callable[[str, str], bool] = lambda _user, _backend: False,
    ) -> None:
        """Take logins.

        Args:
            store: Where they are kept.
            configuration: What is in force.
            audit: Takes what is written down.
            may_use: Tells whether a user may use anything of a backend.
        """
        self._store = store
        self._configuration = configuration
        self._audit = audit
        self._may_use = may_use

    def reconfigure(self, configuration: config.Configuration) -> None:
        """Go by another configuration."""
        self._configuration = configuration

    async def offer(self, name: str, user: str) -> Offer | None:
        """Return what a user can log in at; None where that user can't."""
        settings = self._configuration.backend(name)
        if settings is None or not settings.enabled or not settings.is_personal:
            return None
        if not self._may_use(user, name):
            return None
        place = Target.find(self._configuration, name).place(self._store, user)
        record = await trio.to_thread.run_sync(place.load)
        return Offer(name, origin_of(place.url), record is not None and record.tokens is not None)

    async def forget(self, name: str, user: str) -> None:
        """Forget a user's login at a backend, and end what was open with it."""
        place = Target.find(self._configuration, name).place(self._store, user)
        if await trio.to_thread.run_sync(place.forget):
            self._audit(Audited(what=What.BACKEND_LOGOUT, subject=user, how=name))

    async def begin(self, name: str, origin: str, *, user: str = "", cookie: str = "") -> str:
        """Begin a login that comes back through the gateway.

        Args:
            name: The backend.
            origin: The gateway's, as browsers see it.
            user: Whose login it is to be; "" for the one that everybody shares.
            cookie: What the browser holds that alone may end it; "" for whichever comes back.

        Returns:
            Where to send the browser.

        Raises:
            LoginFailed: No login is possible; the message is for the person.
        """
        try:
            return await self._begin(name, origin, user, cookie)
        except (OAuthError, LoginImpossible, StateError) as error:
            raise LoginFailed(f"No login is possible at {name}: {error}.") from error

    async def _begin(self, name: str, origin: str, user: str, cookie: str) -> str:
        target = Target.find(self._configuration, name)
        place = target.place(self._store, user)
        own = document_at(self._configuration.server.public_url)
        pending = await target.begin(place, callback_at(origin), own)
        browser = digest(cookie) if cookie else ""
        waiting = WaitingLogin(name, place.url, pending, user, browser)
        await trio.to_thread.run_sync(self._store.waiting.put, waiting)
        return pending.url

    async def finish(
        self, answer: Mapping[str, Sequence[str]], cookie: str, address: str = ""
    ) -> str:
        """Finish a login that a browser has come back from, and store it.

        Args:
            answer: The parameters that it came back with.
            cookie: What it holds.
            address: Where it is.

        Returns:
            The backend.

        Raises:
            LoginFailed: There is no login; the message is for the person.
        """
        waiting = await self._take(answer, cookie)
        try:
            await self._redeem(waiting, answer)
        except (OAuthError, LoginImpossible, StateError) as error:
            self._note(What.BACKEND_LOGIN_REFUSED, waiting, address, str(error))
            raise LoginFailed(f"There is no login at {waiting.backend}: {error}.") from error
        self._note(What.BACKEND_LOGIN, waiting, address)
        return waiting.backend

    async def _redeem(self, waiting: WaitingLogin, answer: Mapping[str, Sequence[str]]) -> None:
        target = Target.find(self._configuration, waiting.backend, waiting.replica)
        if target.transport.url != waiting.url:
            raise LoginImpossible("its address has changed meanwhile")
        flow = flow_for(target.transport)
        record = await waiting.pending.finish(flow, waiting.backend, answer, waiting.user)
        place = target.place(self._store, waiting.user)
        await trio.to_thread.run_sync(place.change, lambda _: record)

    async def _take(self, answer: Mapping[str, Sequence[str]], cookie: str) -> WaitingLogin:
        states, waiting = answer.get("state", ()), None
        if len(states) == 1:
            try:
                take = self._store.waiting.take
                waiting = await trio.to_thread.run_sync(take, states[0], cookie)
            except StateError as error:
                raise LoginFailed("onemcp cannot read which login this is.") from error
        if waiting is None:
            raise LoginFailed(
                "No login waits for this answer: it has been used, it has taken too long, or it "
                "was begun in another browser."
            )
        return waiting

    def _note(self, what: What, waiting: WaitingLogin, address: str, reason: str = "") -> None:
        self._audit(
            Audited(
                what=what,
                address=address,
                subject=waiting.user,
                resource=waiting.pending.resource,
                scopes=" ".join(waiting.pending.authorization.scopes),
                how=waiting.backend,
                reason=reason,
            )
        )
