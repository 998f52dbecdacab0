"""What a backend answers, in the client's terms. Pure."""

from __future__ import annotations

from msgspec import Raw

from onemcp.backend import Backend, Call
from onemcp.protocol import tasks, translation
from onemcp.protocol.errors import HOP_ERRORS, BackendProtocolError, InvalidParams, RemoteError
from onemcp.protocol.fields import plain
from onemcp.protocol.questions import ASKING, URL_REQUIRED
from onemcp.protocol.revisions import Era

from .tasks import TaskNames


def era_of_backend(backend: Backend) -> Era:
    """Return the era in which a backend answers."""
    return Era.LEGACY if backend.server is None else backend.server.era


def translate_result(
    result: Raw, source: Era, backend: Backend, call: Call, names: TaskNames
) -> Raw:
    """Write a result of an era for the client that has called.

    Raises:
        BackendProtocolError: It is none, or none that this client can do anything with.
    """
    to = call.caller.era
    info = None if backend.server is None else backend.server.info
    try:
        if source is Era.MODERN and to is Era.MODERN:  # in legacy revisions it means nothing
            _check_takes_task(result, backend, call)
        result = translation.translate_result(call.method, result, source, to, info)
        if source is Era.LEGACY and to is Era.MODERN:
            result = tasks.with_related(result, None)
        return tasks.rename_in_result(
            call.method, call.params, result, source, names.to_client, made=names.made
        )
    except InvalidParams as error:
        raise BackendProtocolError(
            f"backend {backend.name!r} answered {call.method} with nonsense: {error}"
        ) from error


def check_meant(error: RemoteError, backend: Backend, call: Call) -> None:
    """Make sure that an error means the same to the client as to the backend.

    Raises:
        BackendProtocolError: It is about how onemcp has sent the request, or has a code that
            the client's revision forbids (2026-07-28, Overview, Error Codes).
    """
    server, to = backend.server, call.caller.era
    within_legacy = to is Era.LEGACY and server is not None and server.era is Era.LEGACY
    is_of_hop = error.code in HOP_ERRORS and not within_legacy
    if is_of_hop or (error.code == URL_REQUIRED and to is Era.MODERN):
        raise BackendProtocolError(
            f"backend {backend.name!r} answered {call.method} with the error "
            f"{error.code}, which is none of the client's: {error.message[:200]}"
        )


def _check_takes_task(result: Raw, backend: Backend, call: Call) -> None:
    """Make sure that a client which gets a task has declared that it can deal with one."""
    method = call.method
    if method not in ASKING:
        return
    if tasks.makes_task(result) and not tasks.declares(plain(call.caller.capabilities)):
        raise BackendProtocolError(
            f"backend {backend.name!r} answered {method} with a task, "
            "to a client that has not declared that it can deal with any"
        )
