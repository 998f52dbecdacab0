"""JSON-RPC 2.0 envelopes: decoded once, with ``params``, ``result`` and ``error`` left raw.

Messages are encoded as they are: ``jsonrpc`` is the tag that each of them begins with.

Implements 2026-07-28, Overview, Messages (and the same section of earlier revisions).
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .errors import InvalidRequest, ParseError
from .fields import MALFORMED, Fields, raw, single_line

RequestId: TypeAlias = int | str

T = TypeVar("T")

EMPTY_OBJECT: Final = Raw(b"{}")

_PIECE = re.compile(  # possessive, so that hostile text takes linear time
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|.",
    re.DOTALL,
)
_MAX_PIECES: Final = 10_000


class Request(msgspec.Struct, frozen=True, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A call that wants an answer.

    Attributes:
        id: What the answer is matched by.
        method: What is called.
        params: Its parameters, undecoded; an empty object where none were sent.
    """

    id: RequestId
    method: str
    params: Raw = EMPTY_OBJECT


class Notification(msgspec.Struct, frozen=True, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A message that wants no answer.

    Attributes:
        method: What it announces.
        params: Its parameters, undecoded; an empty object where none were sent.
    """

    method: str
    params: Raw = EMPTY_OBJECT


class Response(msgspec.Struct, frozen=True, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A successful answer.

    Attributes:
        id: The id of the request.
        result: The result, undecoded.
    """

    id: RequestId
    result: Raw


class Failure(msgspec.Struct, frozen=True, gc=False):
    """An answer that reports an error.

    Attributes:
        id: The id of the request, or None where it could not be read.
        error: The error object, undecoded.
    """

    id: RequestId | None
    error: Raw


Message: TypeAlias = Request | Notification | Response | Failure


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: str = ""
    id: RequestId | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_BATCH = msgspec.json.Decoder(list[Raw])
_ENCODER = msgspec.json.Encoder()


def decode(data: bytes | bytearray | Raw) -> Message:
    """Decode one JSON-RPC message.

    Args:
        data: UTF-8 JSON text.

    Returns:
        The message. Its raw parts refer to `data`, which must not be changed afterwards.
        Half a surrogate pair, which JSON allows and text does not, becomes U+FFFD.

    Raises:
        ParseError: It is no JSON.
        InvalidRequest: It is JSON, but no JSON-RPC message.
    """
    try:
        # What stays raw is not looked at by the decoder, and must not smuggle broken UTF-8 through.
        text = bytes(data) if isinstance(data, Raw) else data
        if not text.isascii():
            text.decode()
        envelope = _decode(_ENVELOPE, data)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"Not a JSON-RPC message: {error}") from error
    except RecursionError as error:
        raise ParseError("Parse error: nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ParseError(f"Parse error: {error}") from error
    if envelope.jsonrpc != "2.0":
        raise InvalidRequest('Not a JSON-RPC message: "jsonrpc" must be "2.0"')
    return _classify(envelope)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes | bytearray | Raw) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Programs that cut strings between UTF-16 units escape the halves, which is valid JSON.
        text = bytes(data)
        mended = _PIECE.sub(
            lambda found: rb"\ufffd" if found["half"] else found[0], text, count=_MAX_PIECES
        )
        if mended == text:
            raise
        return decoder.decode(mended)


def _classify(envelope: _Envelope) -> Message:
    if envelope.method is not UNSET:
        return _call(envelope.method, envelope)
    if (envelope.result is UNSET) == (envelope.error is UNSET):
        raise InvalidRequest(
            'Not a JSON-RPC message: expected one of "method", "result" or "error"'
        )
    if envelope.error is not UNSET:
        return Failure(None if envelope.id is UNSET else envelope.id, envelope.error)
    if envelope.id is UNSET or envelope.id is None:
        raise InvalidRequest('Not a JSON-RPC message: a result needs the "id" of its request')
    return Response(envelope.id, envelope.result)  # type: ignore[arg-type]  # checked above


def _call(method: str, envelope: _Envelope) -> Message:
    params = EMPTY_OBJECT if envelope.params is UNSET else envelope.params
    if bytes(memoryview(params)[:1]) != b"{":
        raise InvalidRequest('Invalid request: "params" must be an object')
    if envelope.id is UNSET:
        return Notification(method, params)
    if envelope.id is None:
        raise InvalidRequest('Invalid request: "id" must not be null')
    return Request(envelope.id, method, params)


def peek_id(data: bytes | Raw) -> RequestId | None:
    """Return the id of something that may not be a valid message, to answer it by."""
    try:
        found = msgspec.json.decode(data, type=dict[str, Raw]).get("id")
        return None if found is None else msgspec.json.decode(found, type=int | str)
    except MALFORMED:
        return None


def decode_batch(data: bytes, limit: int) -> list[Raw] | None:
    """Split a JSON-RPC batch (2025-03-26 only) into its messages.

    Args:
        data: UTF-8 JSON text.
        limit: The largest number of messages to accept.

    Returns:
        The messages, undecoded; None where `data` is not a JSON array.

    Raises:
        ParseError: It looks like an array, but is no JSON.
        InvalidRequest: It is empty or too long.
    """
    if data.lstrip()[:1] != b"[":
        return None
    try:
        messages = _decode(_BATCH, data)
    except MALFORMED as error:
        raise ParseError(f"Parse error: {error}") from error
    if not 0 < len(messages) <= limit:
        raise InvalidRequest(f"A batch holds 1 to {limit} messages, this one {len(messages)}")
    return messages


def encode(message: Message) -> bytes:
    """Encode a message as one line of JSON, its raw parts byte for byte."""
    if isinstance(message, Failure):
        return encode_failure(message.id, message.error)
    return single_line(_ENCODER.encode(message))


def encode_request(request_id: RequestId, method: str, params: Raw) -> bytes:
    """Encode a request, splicing `params` in."""
    return single_line(_ENCODER.encode(Request(request_id, method, params)))


def encode_notification(method: str, params: Raw) -> bytes:
    """Encode a notification, splicing `params` in."""
    return single_line(_ENCODER.encode(Notification(method, params)))


def encode_response(request_id: RequestId, result: Raw) -> bytes:
    """Encode a successful answer, splicing `result` in."""
    return single_line(_ENCODER.encode(Response(request_id, result)))


def encode_failure(request_id: RequestId | None, error: Raw) -> bytes:
    """Encode an error answer, splicing `error` in; without an id where none could be read."""
    if request_id is None:
        return single_line(b'{"jsonrpc":"2.0","error":%b}' % bytes(error))
    return single_line(
        b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_ENCODER.encode(request_id), bytes(error))
    )


def notification(method: str, params: Fields | dict[str, Any]) -> Notification:
    """Build a notification from values that are encoded here."""
    return Notification(method, raw(params))
