"""The reserved members of ``_meta``, and all the others left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.protocol import meta as m
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import join, raw, split
from onemcp.protocol.methods import LOG_LEVELS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def request_meta(**changes):
    members = {
        m.PROTOCOL_VERSION: Raw(b'"2026-07-28"'),
        m.CLIENT_CAPABILITIES: Raw(b'{ "roots":{} }'),
        **{getattr(m, key): value for key, value in changes.items()},
    }
    return {key: value for key, value in members.items() if value is not None}


@pytest.mark.parametrize(
    ("params", "members"),
    [
        (b"{}", {}),
        (b'{"_meta":{}}', {}),
        (b'{"_meta":null}', {}),
        (b'{"_meta":{"a":1.50}}', {"a": Raw(b"1.50")}),
    ],
)
def test_meta_may_be_absent_or_null(params, members):
    assert m.meta_of(split(params)) == members


@pytest.mark.parametrize("value", [b"1", b'"x"', b"[]", b"true"])
def test_meta_of_another_type_is_refused(value):
    with pytest.raises(InvalidParams, match="_meta must be a JSON object"):
        m.meta_of({"_meta": Raw(value)})


@pytest.mark.parametrize(
    ("members", "modern"),
    [
        ({}, False),
        ({"progressToken": Raw(b"1")}, False),
        ({m.CLIENT_INFO: Raw(b"{}")}, False),
        ({m.PROTOCOL_VERSION: Raw(b"null")}, True),
        ({m.CLIENT_CAPABILITIES: Raw(b"{}")}, True),
    ],
)
def test_a_modern_request_shows_by_its_required_fields(members, modern):
    assert m.is_modern(join({"x": Raw(b"[1]"), m.META: join(members)})) is modern


@pytest.mark.parametrize("params", [b"{}", b'{"_meta":null}', b'{"_meta":1}', b"[]", b"{", b"\xff"])
def test_other_requests_are_no_modern_ones(params):
    assert m.is_modern(Raw(params)) is False


def test_the_request_fields_are_read_and_their_values_kept():
    read = m.read_request_meta(
        request_meta(CLIENT_INFO=Raw(b'{"name" : "x"}'), LOG_LEVEL=Raw(b'"warning"'))
    )
    assert read == m.RequestMeta(
        "2026-07-28", Raw(b'{ "roots":{} }'), Raw(b'{"name" : "x"}'), "warning"
    )
    assert m.read_request_meta(request_meta()) == m.RequestMeta(
        "2026-07-28", Raw(b'{ "roots":{} }')
    )


@pytest.mark.parametrize("key", ["PROTOCOL_VERSION", "CLIENT_CAPABILITIES"])
def test_a_missing_required_field_is_named(key):
    with pytest.raises(InvalidParams, match=getattr(m, key)):
        m.read_request_meta(request_meta(**{key: None}))


def test_all_missing_fields_are_named_at_once():
    with pytest.raises(InvalidParams, match=r"protocolVersion and .*clientCapabilities"):
        m.read_request_meta({})


@pytest.mark.requirement("server/utilities/logging#error-handling-1")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PROTOCOL_VERSION", b"20260728"),
        ("PROTOCOL_VERSION", b"null"),
        ("CLIENT_CAPABILITIES", b"null"),
        ("CLIENT_CAPABILITIES", b"[]"),
        ("CLIENT_CAPABILITIES", b'"{}"'),
        ("LOG_LEVEL", b'"verbose"'),
        ("LOG_LEVEL", b'"Error"'),
        ("LOG_LEVEL", b"null"),
        ("LOG_LEVEL", b"3"),
        ("LOG_LEVEL", b"[]"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(key, value):
    with pytest.raises(InvalidParams, match=getattr(m, key)):
        m.read_request_meta(request_meta(**{key: Raw(value)}))


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_every_log_level_is_known(level):
    assert m.read_request_meta(request_meta(LOG_LEVEL=raw(level))).log_level == level


@pytest.mark.requirement("basic/patterns/progress#progress-flow-1")
@pytest.mark.parametrize("token", [b"1", b"-5", b'"a"', b'""', b"123456789012345678901234567890"])
def test_progress_tokens_stay_as_they_are(token):
    assert m.progress_token({"progressToken": Raw(token)}) == Raw(token)


@pytest.mark.requirement("basic/patterns/progress#progress-flow-1")
@pytest.mark.parametrize("token", [b"true", b"null", b"1.5", b"[]", b"{}", b"9" * 5000])
def test_other_progress_tokens_are_refused(token):
    with pytest.raises(InvalidParams, match="progressToken"):
        m.progress_token({"progressToken": Raw(token)})


def test_a_progress_token_may_be_absent():
    assert m.progress_token({}) is None


@pytest.mark.requirement("basic/index#meta-1")
def test_members_are_set_and_removed_and_the_rest_stays_byte_for_byte():
    fields = split(b'{"_meta":{"keep": 1.50 ,"old":1,"gone":2},"z": [1 , 2],"a":1E400}')
    changed = m.set_meta(fields, {"old": raw(9), "gone": None, "absent": None, "new": raw("n")})
    assert bytes(join(changed)) == (
        b'{"z":[1 , 2],"a":1E400,"_meta":{"keep":1.50,"old":9,"new":"n"}}'
    )
    assert bytes(fields["_meta"]) == b'{"keep": 1.50 ,"old":1,"gone":2}'


@pytest.mark.parametrize(
    "source", [b"{}", b'{"_meta":{}}', b'{"_meta":null}', b'{"_meta":{"a":1}}']
)
def test_a_meta_that_becomes_empty_is_removed(source):
    assert m.set_meta(split(source), {"a": None}) == {}


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.dictionaries(st.sampled_from("abcdef"), JSON, max_size=4),
    st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers().map(raw), max_size=4),
)
def test_setting_members_preserves_all_others(params, meta, changes):
    fields = split(json.dumps({**params, "_meta": meta}).encode())
    before = dict(fields)
    result = json.loads(bytes(join(m.set_meta(fields, changes))))
    assert fields == before
    wanted = {**meta, **{k: json.loads(bytes(v)) for k, v in changes.items() if v is not None}}
    for key in [key for key, value in changes.items() if value is None]:
        wanted.pop(key, None)
    expected = {key: value for key, value in params.items() if key != "_meta"}
    assert result == {**expected, **({"_meta": wanted} if wanted else {})}


def test_modern_members_make_a_request_that_reads_back():
    written = m.RequestMeta("2026-07-28", Raw(b'{"a":1.50}'), Raw(b'{"name":"x"}'), "info")
    fields = m.set_meta({}, m.modern_members(written))
    assert m.read_request_meta(m.meta_of(fields)) == written


def test_modern_members_remove_what_the_request_does_not_say():
    first = m.modern_members(m.RequestMeta("r", Raw(b"{}"), Raw(b"{}"), "info"))
    fields = m.set_meta({}, first)
    fields = m.set_meta(fields, m.modern_members(m.RequestMeta("r", Raw(b"{}"))))
    assert set(m.meta_of(fields)) == {m.PROTOCOL_VERSION, m.CLIENT_CAPABILITIES}


def test_a_legacy_request_keeps_nothing_that_belongs_to_a_modern_hop():
    modern = m.modern_members(m.RequestMeta("r", Raw(b"{}"), Raw(b"{}"), "info"))
    fields = m.set_meta({}, {**modern, "traceparent": raw("00-1"), "progressToken": raw(1)})
    assert set(m.meta_of(m.set_meta(fields, m.LEGACY_MEMBERS))) == {"traceparent", "progressToken"}
