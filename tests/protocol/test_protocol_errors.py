"""Every error code, and errors that travel on as they came."""

from __future__ import annotations

import inspect

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.protocol import errors
from onemcp.protocol.errors import ErrorObject, LocalError, RemoteError

LOCAL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LocalError) and kind is not LocalError
]
SPECIFIED = [kind for kind in LOCAL if kind not in errors.OWN_ERRORS]


@pytest.mark.requirement(
    "basic/index#error-responses-3",
    "basic/index#error-codes-1",
    "basic/index#error-codes-2",
    "basic/index#error-codes-5",
    "basic/index#error-codes-8",
)
def test_own_codes_are_unique_and_outside_the_ranges_that_are_reserved():
    codes = [kind.code for kind in errors.OWN_ERRORS]
    assert len(set(codes)) == len(codes)
    assert not [code for code in codes if -32768 <= code <= -32000]


@pytest.mark.requirement("basic/index#error-codes-5")
def test_every_class_with_a_code_outside_the_reserved_ranges_is_in_the_table():
    outside = {kind for kind in LOCAL if not -32768 <= kind.code <= -32000}
    assert outside == set(errors.OWN_ERRORS)


def test_specified_codes_belong_to_one_class_but_for_the_unknown_resource():
    by_code: dict[int, list[str]] = {}
    for kind in SPECIFIED:
        by_code.setdefault(kind.code, []).append(kind.__name__)
    shared = {code: names for code, names in by_code.items() if len(names) > 1}
    assert shared == {errors.INVALID_PARAMS: ["InvalidParams", "ResourceNotFound"]}


@pytest.mark.requirement("basic/index#error-codes-4")
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ParseError, -32700),
        (errors.InvalidRequest, -32600),
        (errors.MethodNotFound, -32601),
        (errors.InvalidParams, -32602),
        (errors.ResourceNotFound, -32602),
        (errors.InternalError, -32603),
        (errors.HeaderMismatch, -32020),
        (errors.MissingClientCapability, -32021),
        (errors.UnsupportedVersion, -32022),
    ],
)
def test_specified_errors_have_the_codes_of_the_specification(kind, code):
    assert kind.code == code


@pytest.mark.requirement("basic/index#error-codes-6")
def test_no_error_has_a_code_that_the_latest_revision_forbids_to_send():
    assert not {-32002, -32042} & {kind.code for kind in LOCAL}
    assert all(not -32019 <= kind.code <= -32000 for kind in LOCAL)


@pytest.mark.requirement("basic/index#error-responses-2")
@pytest.mark.parametrize("kind", LOCAL, ids=lambda kind: kind.__name__)
def test_every_local_error_says_what_it_means(kind):
    assert kind.__doc__
    assert kind.__doc__ != LocalError.__doc__
    assert kind.__doc__.rstrip().endswith((".", "safe.", "acted."))


@pytest.mark.requirement("basic/index#error-responses-2", "basic/index#error-responses-3")
@pytest.mark.parametrize("kind", LOCAL, ids=lambda kind: kind.__name__)
def test_a_local_error_encodes_to_an_error_object(kind):
    error = kind("It broke: “why”", {"backend": "git"})
    assert str(error) == "It broke: “why”"
    assert msgspec.json.decode(error.error) == {
        "code": kind.code,
        "message": "It broke: “why”",
        "data": {"backend": "git"},
    }


def test_a_local_error_without_data_sends_none():
    assert bytes(errors.Overloaded("full").error) == b'{"code":-33004,"message":"full"}'


def test_empty_data_is_data():
    assert b'"data":{}' in bytes(errors.Overloaded("full", {}).error)


def test_only_modern_servers_send_the_modern_codes():
    assert {-32020, -32021, -32022} == errors.MODERN_ERRORS


def test_a_remote_error_carries_its_bytes_untouched():
    raw = Raw(b'{ "message":"\\u006eo", "code": -32001, "data":1.50, "x":1 }')
    error = RemoteError(raw)
    assert error.error is raw
    assert (error.code, error.message) == (-32001, "no")
    assert str(error) == "remote error -32001: no"


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (b"{}", errors.INTERNAL_ERROR, ""),
        (b'"boom"', errors.INTERNAL_ERROR, ""),
        (b"null", errors.INTERNAL_ERROR, ""),
        (b"[]", errors.INTERNAL_ERROR, ""),
        (b'{"code":true,"message":"m"}', errors.INTERNAL_ERROR, "m"),
        (b'{"code":"-1","message":"m"}', errors.INTERNAL_ERROR, "m"),
        (b'{"code":-5,"message":null}', -5, ""),
        (b'{"code":-5,"message":{"a":1}}', -5, ""),
        (b'{"code":-5,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", -32603, ""),
        (b'{"code":' + b"9" * 5000 + b"}", errors.INTERNAL_ERROR, ""),
        (b'{"code":-5,"message":"\xff"}', -5, ""),
        (b"", errors.INTERNAL_ERROR, ""),
    ],
)
def test_a_remote_error_that_is_no_error_object_is_carried_all_the_same(raw, code, message):
    error = RemoteError(Raw(raw))
    assert (error.code, error.message) == (code, message)
    assert bytes(error.error) == raw


@given(st.binary())
def test_a_remote_error_of_arbitrary_bytes_never_fails(data):
    error = RemoteError(Raw(data))
    assert isinstance(error.code, int)
    assert isinstance(error.message, str)
    assert bytes(error.error) == data


def test_an_error_object_omits_what_is_not_there():
    assert msgspec.json.encode(ErrorObject(-1, "m")) == b'{"code":-1,"message":"m"}'
    decoded = msgspec.json.decode(b'{"code":-1,"data":1.50}', type=ErrorObject)
    assert isinstance(decoded.data, Raw)
    assert bytes(decoded.data) == b"1.50"
