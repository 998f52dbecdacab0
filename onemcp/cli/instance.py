"""A running onemcp, as the commands reach it: over its control socket.

Which one is meant, the socket tells: it is named after the configuration file. Where none runs with
the configuration that `run` would use here, but one runs with another, that one is meant; where
several do, they have to be told apart.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click
import httpx

from onemcp import config
from onemcp.cli.failures import Failure, NotRunning
from onemcp.runtime import is_alive

F = TypeVar("F", bound=Callable[..., Any])

HOST: Final = "http://localhost"
SECONDS: Final = 10.0
"""How long an answer about the state may take."""


def options(function: F) -> F:
    """Add the options that say which onemcp is meant."""
    for option in (
        click.option(
            "--config",
            "config_path",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The onemcp that runs with this configuration file.",
        ),
        click.option(
            "--socket",
            type=click.Path(path_type=Path),
            envvar="ONEMCP_SOCKET",
            show_envvar=True,
            help="The onemcp with this control socket.",
        ),
    ):
        function = option(function)
    return function


@attrs.frozen
class Instance:
    """A running onemcp.

    Attributes:
        path: Its control socket.
        patience: How long anything may take, in seconds; None for as long as it takes, but for
            what it can tell at once.
    """

    path: Path
    _client: httpx.Client = attrs.field(repr=False)
    patience: float | None = None

    def ask(self, path: str, **query: str | int) -> Any:
        """Ask for something, and return what JSON has.

        Raises:
            Failure: It refuses, or is not there any more.
        """
        return self._answer("GET", path, params=query, timeout=self.patience or SECONDS)

    def tell(self, path: str, body: Any = None) -> Any:
        """Have something done, and return what came of it; takes as long as it takes.

        Args:
            path: What.
            body: What there is to say of it, if anything, as JSON has it.

        Raises:
            Failure: It refuses, or is not there any more.
        """
        return self._answer("POST", path, json=body, timeout=self.patience)

    def follow(self, path: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """Yield events as they happen, until onemcp ends.

        Raises:
            Failure: It refuses, or breaks off.
        """
        patience = httpx.Timeout(SECONDS, read=60.0)
        with (
            self._guarded(),
            self._client.stream("GET", f"/control{path}", params=query, timeout=patience) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a request that is none to the control channel.

        Raises:
            Failure: It is not there any more.
        """
        with self._guarded():
            return self._client.post(path, content=body, headers=headers, timeout=self.patience)

    def _answer(self, method: str, path: str, **more: Any) -> Any:
        with self._guarded():
            answer = self._client.request(method, f"/control{path}", **more)
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer)
        return answer.json()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise NotRunning(f"The onemcp at {self.path} does not answer.") from error
        except httpx.HTTPError as error:
            raise NotRunning(f"The onemcp at {self.path} has ended: {error}") from error


@contextlib.contextmanager
def reached(
    socket: Path | None, config_path: Path | None, patience: float | None = None
) -> Iterator[Instance]:
    """Reach a running onemcp for as long as the block runs.

    Args:
        socket: Its control socket, if that is known.
        config_path: The configuration file that it runs with, if that is known.
        patience: See `Instance`.

    Raises:
        NotRunning: There is none.
        click.UsageError: There are several, and it isn't clear which is meant.
    """
    path = socket or find(config_path)
    try:
        alive = is_alive(path)
    except OSError as error:
        why = error.strerror or error
        raise NotRunning(f"The onemcp at {path} can't be reached: {why}.") from error
    if alive is None:
        raise NotRunning(f"No onemcp listens on {path}. Start it with `onemcp run`.")
    transport = httpx.HTTPTransport(uds=os.fspath(path))
    with httpx.Client(transport=transport, base_url=HOST, trust_env=False) as client:
        yield Instance(path, client, patience)


def find(config_path: Path | None) -> Path:
    """Find the control socket of a running onemcp.

    Raises:
        NotRunning: None runs.
        click.UsageError: There are several, and it isn't clear which is meant.
    """
    file = config.find(config_path, Path.cwd(), os.environ)
    directories = config.runtime_directories(os.environ)
    for candidate in (
        _configured(file),
        *(each / config.socket_name(file) for each in directories),
    ):
        if candidate is not None and _is_alive(candidate):
            return candidate
    if config_path is not None:
        raise NotRunning(f"No onemcp runs with {config_path}. Start it with `onemcp run`.")
    found = [path for each in directories for path in _sockets(each) if _is_alive(path)]
    if len(found) > 1:
        listed = "\n  ".join(map(str, found))
        raise click.UsageError(f"Several run. Name one with --socket or --config:\n  {listed}")
    if not found:
        raise NotRunning("No onemcp runs here. Start one with `onemcp run`.")
    return found[0]


def _configured(file: Path | None) -> Path | None:
    """Return the socket that a configuration names, as far as it can be read."""
    if file is None:
        return None
    try:
        return config.load(file).control.socket
    except config.ConfigurationError:
        return None  # what runs may have been started when it was good


def _sockets(directory: Path) -> list[Path]:
    try:
        return sorted(directory.glob(f"*{config.SOCKET_SUFFIX}"))
    except OSError:
        return []


def _is_alive(path: Path) -> bool:
    try:
        return is_alive(path) is not None
    except OSError:
        return False


def _refusal(answer: httpx.Response) -> click.ClickException:
    try:
        error = answer.json()["error"]
        code, message = error.get("code"), str(error["message"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return Failure(f"onemcp answered with status {answer.status_code}.")
    if not message.startswith("onemcp"):  # which is written like this wherever it stands
        message = f"{message[:1].upper()}{message[1:]}"
    message += "" if message.endswith("?") else "."
    if code == "unknown_backend":
        return click.UsageError(message)
    return Failure(message)
