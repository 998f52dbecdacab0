"""What can go wrong, as exit codes and sentences."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from enum import IntEnum

import click


class ExitCode(IntEnum):
    """How the program ends, as `onemcp.cli` documents it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    STATE = 73
    IO_ERROR = 74
    CONFIGURATION = 78
    INTERRUPTED = 130


class Failure(click.ClickException):
    """A command failed for a reason that can be told."""

    exit_code = ExitCode.FAILED


class AddressUnavailable(Failure):
    """The address cannot be listened on."""

    exit_code = ExitCode.UNAVAILABLE


class NotRunning(Failure):
    """There is no onemcp that could be asked."""

    exit_code = ExitCode.UNAVAILABLE


class StateUnusable(Failure):
    """The state directory, or the keys in it, cannot be used."""

    exit_code = ExitCode.STATE


class ConfigurationUnusable(Failure):
    """The configuration cannot be used."""

    exit_code = ExitCode.CONFIGURATION


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, or those in the group that it is."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error


def unreachable_address(error: OSError, host: str, port: int) -> AddressUnavailable:
    """Say why an address cannot be listened on, and what to do."""
    if isinstance(error, socket.gaierror):
        message = f"There is no host {host!r}. Choose another with --host."
    elif error.errno == errno.EADDRINUSE:
        message = f"Port {port} of {host} is in use. Choose another with --port, or 0 for any."
    elif error.errno == errno.EADDRNOTAVAIL:
        message = f"{host} is no address of this machine. Choose another with --host."
    elif error.errno in {errno.EACCES, errno.EPERM}:
        message = f"Port {port} is not yours to use. Choose one above 1023 with --port."
    else:
        message = f"Cannot listen on {host}, port {port}: {error.strerror or error}."
    return AddressUnavailable(message)
