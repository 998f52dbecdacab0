"""The suite's scenarios of authorization for clients, and what onemcp is to do in each.

A person is played by a real `onemcp login` with a browser that just follows redirects; a onemcp
that is running the whole time has to notice. The suite looks at what its servers get.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.client_scenarios import Drive

DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The Client ID Metadata Document that the suite expects."""

NEGATIVE = {
    "auth/resource-mismatch": "another resource",
    "auth/iss-supported-missing": "does not say which",
    "auth/iss-wrong-issuer": "of another authorization server",
    "auth/iss-unexpected": "of another authorization server",
    "auth/iss-normalized": "of another authorization server",
    "auth/metadata-issuer-mismatch": "another issuer",
}
"""Scenarios in which there must be no login, and what the person is told instead."""

POSITIVE = ("auth/metadata-default", "auth/iss-supported")
"""Without these, the others would show nothing."""

Answer = tuple[int, str]


@dataclass(frozen=True)
class Visit:
    """One scenario, with a running gateway before its server.

    Attributes:
        drive: The gateway, a client, and what the scenario tells.
        scenario: What it is called.
        log_in: Runs `onemcp login`; returns its exit code and what it printed.
    """

    drive: Drive
    scenario: str
    log_in: Callable[[], Awaitable[Answer]]

    async def needs_login(self, times: int = 1) -> None:
        """Wait until the gateway has found that it needs one."""
        gateway, backend = self.drive.gateway, self.drive.backend
        await gateway.logged("backend_down", backend=backend, times=times)

    async def logged_in(self) -> None:
        """Log in, successfully."""
        code, printed = await self.log_in()
        assert code == 0, printed

    async def ready(self, times: int = 1) -> None:
        """Wait until the gateway is connected."""
        gateway, backend = self.drive.gateway, self.drive.backend
        await gateway.logged("backend_ready", backend=backend, times=times)

    async def call(self) -> list[Any]:
        """Call the tool; return the outcome."""
        return await self.drive.run({"op": "call", "name": "suite__test-tool", "arguments": {}})


async def usual(visit: Visit) -> None:
    await visit.needs_login()
    await visit.logged_in()
    await visit.ready()
    (called,) = await visit.call()
    assert called["ok"]["result"]["content"][0]["text"] == "test", called


async def step_up(visit: Visit) -> None:
    await visit.needs_login()
    await visit.logged_in()
    await visit.ready()
    (refused,) = await visit.call()
    assert f"onemcp login {visit.drive.backend}" in str(refused["error"]), refused
    await visit.logged_in()
    await visit.drive.gateway.logged("login_noticed", backend=visit.drive.backend, times=2)
    (called,) = await visit.call()
    assert called["ok"]["result"]["content"][0]["text"] == "test", called


async def retry_limit(visit: Visit) -> None:
    await visit.needs_login()
    await visit.logged_in()
    gateway, backend = visit.drive.gateway, visit.drive.backend
    # The handshake of 2025-11-25 needs no token in this scenario: then it is the list that fails.
    refusals = partial(gateway.lines, backend=backend)
    await gateway.until(
        lambda: len(refusals("backend_down")) > 1 or len(refusals("list_failed")) > 0
    )


async def migration(visit: Visit) -> None:
    await visit.needs_login()
    await visit.logged_in()
    await visit.needs_login(2)
    await visit.logged_in()
    await visit.ready()


async def refused(visit: Visit) -> None:
    await visit.needs_login()
    code, printed = await visit.log_in()
    assert code == 1, printed
    assert NEGATIVE[visit.scenario] in printed, printed


async def service(visit: Visit) -> None:
    await visit.ready()


def settings_of(name: str, context: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """Return what the configuration says about the login, None for nothing."""
    known = {"clientId": context.get("client_id"), "clientSecret": context.get("client_secret")}
    if name == "auth/pre-registration":
        return {"type": "authorization_code", **known}
    if name == "auth/basic-cimd":
        return {"type": "authorization_code", "clientMetadataUrl": DOCUMENT}
    if name == "auth/client-credentials-basic":
        return {"type": "client_credentials", **known}
    if name == "auth/client-credentials-jwt":
        key = folder / "key.pem"
        key.write_text(context["private_key_pem"], encoding="utf-8")
        return {
            "type": "client_credentials",
            "clientId": context["client_id"],
            "privateKeyFile": str(key),
            "algorithm": context["signing_algorithm"],
        }
    return None


_SINCE_2025 = {
    "auth/metadata-default": usual,
    "auth/metadata-var1": usual,
    "auth/metadata-var2": usual,
    "auth/metadata-var3": usual,
    "auth/basic-cimd": usual,
    "auth/scope-from-www-authenticate": usual,
    "auth/scope-from-scopes-supported": usual,
    "auth/scope-omitted-when-undefined": usual,
    "auth/scope-step-up": step_up,
    "auth/scope-retry-limit": retry_limit,
    "auth/token-endpoint-auth-basic": usual,
    "auth/token-endpoint-auth-post": usual,
    "auth/token-endpoint-auth-none": usual,
    "auth/pre-registration": usual,
}

LOGINS: dict[str, dict[str, Callable[[Visit], Awaitable[None]]]] = {
    "2026-07-28": {
        **_SINCE_2025,
        "auth/offline-access-scope": usual,
        "auth/offline-access-not-supported": usual,
        "auth/authorization-server-migration": migration,
        "auth/iss-supported": usual,
        "auth/iss-not-advertised": usual,
        **dict.fromkeys(NEGATIVE, refused),
        "auth/client-credentials-basic": service,
        "auth/client-credentials-jwt": service,
    },
    "2025-11-25": {**_SINCE_2025},
}

EXTENSIONS = {"auth/client-credentials-basic", "auth/client-credentials-jwt"}
"""Scenarios of extensions, which the suite neither lists nor runs unless it is told to."""
