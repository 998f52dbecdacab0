"""JSON-RPC envelopes: what is a message, what is not, and payloads byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.protocol.errors import InvalidRequest, ParseError
from onemcp.protocol.jsonrpc import (
    Failure,
    Notification,
    Request,
    Response,
    decode,
    decode_batch,
    encode,
    encode_failure,
    encode_notification,
    encode_request,
    encode_response,
    notification,
    peek_id,
)

DEEP = b"[" * 100_000 + b"]" * 100_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
IDS = st.integers() | st.text()
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


def compact(value):
    return Raw(json.dumps(value, separators=(",", ":")).encode())


def pretty(value):
    return Raw(json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\r\n").encode())


MESSAGES = (
    st.builds(Request, IDS, st.text(), OBJECTS.map(compact))
    | st.builds(Notification, st.text(), OBJECTS.map(compact))
    | st.builds(Response, IDS, JSON.map(compact))
    | st.builds(Failure, st.none() | IDS, JSON.map(compact))
)


@pytest.mark.requirement(
    "basic/index#messages-1",
    "basic/index#requests-1",
    "basic/index#result-responses-2",
    "basic/index#notifications-2",
)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"jsonrpc":"2.0","id":1,"method":"ping"}', Request(1, "ping", Raw(b"{}"))),
        (
            '{"jsonrpc":"2.0","id":"é","method":"m","params":{"a":1}}',
            Request("é", "m", Raw(b'{"a":1}')),
        ),
        ('{"jsonrpc":"2.0","id":"","method":""}', Request("", "", Raw(b"{}"))),
        ('{"jsonrpc":"2.0","id":0,"method":"m"}', Request(0, "m")),
        ('{"jsonrpc":"2.0","id":-1,"method":"m"}', Request(-1, "m")),
        (
            '{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"m"}',
            Request(123456789012345678901234567890, "m"),
        ),
        ('{"jsonrpc":"2.0","method":"m"}', Notification("m", Raw(b"{}"))),
        ('{"jsonrpc":"2.0","method":"m","params":{}}', Notification("m", Raw(b"{}"))),
        ('{"jsonrpc":"2.0","id":1,"result":{}}', Response(1, Raw(b"{}"))),
        ('{"jsonrpc":"2.0","id":1,"result":null}', Response(1, Raw(b"null"))),
        ('{"jsonrpc":"2.0","id":"1","error":{"code":-1}}', Failure("1", Raw(b'{"code":-1}'))),
        ('{"jsonrpc":"2.0","id":null,"error":{}}', Failure(None, Raw(b"{}"))),
        ('{"jsonrpc":"2.0","error":{}}', Failure(None, Raw(b"{}"))),
        ('{"jsonrpc":"2.0","error":"boom"}', Failure(None, Raw(b'"boom"'))),
        (' \r\n\t{ "jsonrpc" : "2.0" , "method" : "m" } \n', Notification("m")),
        ('{"method":"m","id":1,"jsonrpc":"2.0"}', Request(1, "m")),
        ('{"jsonrpc":"2.0","id":1,"method":"m","extra":[1e9],"x":null}', Request(1, "m")),
        ('{"\\u006asonrpc":"2.0","i\\u0064":1,"method":"\\u006d"}', Request(1, "m")),
        ('{"jsonrpc":"2.0","id":1,"method":"a","id":2,"method":"b"}', Request(2, "b")),
        ('{"jsonrpc":"1.0","jsonrpc":"2.0","method":"m"}', Notification("m")),
    ],
)
def test_messages_are_told_apart_by_their_members(data, message):
    assert decode(data.encode()) == message
    assert decode(bytearray(data.encode())) == message
    assert decode(Raw(data.encode())) == message


@pytest.mark.requirement(
    "basic/index#messages-1", "basic/index#requests-1", "basic/index#requests-2"
)
@pytest.mark.parametrize(
    "data",
    [
        '{"jsonrpc":"2.0","id":null,"method":"m"}',
        '{"jsonrpc":"2.0","id":true,"method":"m"}',
        '{"jsonrpc":"2.0","id":1.5,"method":"m"}',
        '{"jsonrpc":"2.0","id":1.0,"method":"m"}',
        '{"jsonrpc":"2.0","id":1e400,"method":"m"}',
        '{"jsonrpc":"2.0","id":[],"method":"m"}',
        '{"jsonrpc":"2.0","id":{},"method":"m"}',
        '{"jsonrpc":"2.0","id":' + "9" * 5000 + ',"method":"m"}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":null}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":"{}"}',
        '{"jsonrpc":"2.0","method":"m","params":[]}',
        '{"jsonrpc":"2.0","method":"m","params":3}',
        '{"id":1,"method":"m"}',
        '{"jsonrpc":"1.0","id":1,"method":"m"}',
        '{"jsonrpc":2.0,"id":1,"method":"m"}',
        '{"jsonrpc":null,"id":1,"method":"m"}',
        '{"jsonrpc":"2.0","id":1,"method":null}',
        '{"jsonrpc":"2.0","id":1,"method":7}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":null}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","result":{}}',
        '{"jsonrpc":"2.0","id":null,"result":{}}',
        '{"jsonrpc":"2.0","id":false,"result":{}}',
        '{"jsonrpc":"2.0","id":1.5,"error":{}}',
        "{}",
        "[]",
        '[{"jsonrpc":"2.0","id":1,"method":"m"}]',
        "null",
        "1",
        '"ping"',
    ],
)
def test_json_that_is_no_message_is_an_invalid_request(data):
    with pytest.raises(InvalidRequest):
        decode(data.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b'{"jsonrpc":"2.0","method":"m"}x',
        b'{"jsonrpc":"2.0","method":"m"}\x00',
        b"Content-Length: 5",
        b"\xef\xbb\xbf" + b'{"jsonrpc":"2.0","method":"m"}',
        '{"jsonrpc":"2.0","method":"m"}'.encode("utf-16"),
        b'{"jsonrpc":"2.0","method":"m",}',
        b"{'jsonrpc':'2.0','method':'m'}",
        *(
            b'{"jsonrpc":"2.0","id":1,"result":' + value + b"}"
            for value in [
                *(b"NaN", b"Infinity", b"01", b"1.", b".5", b"-", b"+1", b"1e", b"0x1", b"tru"),
                *(b'"\n"', b'"\x00"', b'"\\q"', b'"\\u12"', b'"\\', b"{1:1}", b"[1,]", b'{"a" 1}'),
                DEEP,
                b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            ]
        ),
        b'{"x":' + DEEP + b',"jsonrpc":"2.0","id":1,"result":{}}',
    ],
)
def test_what_is_no_json_is_a_parse_error(data):
    with pytest.raises(ParseError):
        decode(data)


@pytest.mark.parametrize("data", [DEEP, b"[" * 100_000, b"[1,", b"12x"])
def test_of_what_begins_with_the_wrong_type_the_rest_is_not_looked_at(data):
    with pytest.raises(InvalidRequest):
        decode(data)


@pytest.mark.requirement("basic/transports/index#messages-1")
@pytest.mark.parametrize(
    "broken", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
)
@pytest.mark.parametrize(
    "template",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"a":"%b"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"%b":1}}',
        b'{"jsonrpc":"2.0","id":1,"error":["%b"]}',
        b'{"jsonrpc":"2.0","method":"m","params":{"a":"%b"}}',
        b'{"jsonrpc":"2.0","method":"%b"}',
        b'{"jsonrpc":"2.0","id":"%b","method":"m"}',
        b'{"jsonrpc":"2.0","method":"m","%b":1}',
        b'{"jsonrpc":"2.0","method":"m","unknown":"%b"}',
        b'{"jsonrpc":"2.0","method":"m"}%b',
        b'%b{"jsonrpc":"2.0","method":"m"}',
    ],
)
def test_broken_utf8_is_a_parse_error_wherever_it_stands(template, broken):
    data = template % broken
    for form in (data, bytearray(data), Raw(data)):
        with pytest.raises(ParseError):
            decode(form)


@pytest.mark.parametrize(
    ("escaped", "mended"),
    [
        (rb"\ud83d", rb"\ufffd"),
        (rb"\uDE00 tail", rb"\ufffd tail"),
        (rb"cut \ud83d", rb"cut \ufffd"),
        (rb"\ud83d\ud83d\ude00", rb"\ufffd\ud83d\ude00"),
        (rb"\ud83d\ude00\ude00", rb"\ud83d\ude00\ufffd"),
        (rb"\ud83d\n", rb"\ufffd\n"),
        (rb"\\ud83d \ud83d", rb"\\ud83d \ufffd"),
        (rb"\\\ud83d", rb"\\\ufffd"),
        (rb"\\ud83d\ude00", rb"\\ud83d\ufffd"),
        (rb"\u0041\ud83d\u0041", rb"\u0041\ufffd\u0041"),
    ],
)
def test_half_a_surrogate_pair_is_replaced_and_nothing_else(escaped, mended):
    data = b'{"jsonrpc":"2.0","id":1,"result":{"n":1.50, "a":"%b"}}'
    assert decode(data % escaped) == Response(1, Raw(b'{"n":1.50, "a":"%b"}' % mended))
    (message,) = decode_batch(b"[" + data % escaped + b"]", 1)
    assert decode(message) == Response(1, Raw(b'{"n":1.50, "a":"%b"}' % mended))


@pytest.mark.parametrize(
    "pairs", [rb"\ud83d\ude00", rb"\uD83D\uDE00", rb"\\ud83d", rb"\\\\ude00", "😀".encode()]
)
def test_whole_surrogate_pairs_travel_as_they_are(pairs):
    data = b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % pairs
    assert decode(data) == Response(1, Raw(b'"%b"' % pairs))


@pytest.mark.parametrize("hostile", [rb"\ud800" * 50_000, rb"\\" * 100_000 + rb"\q", rb"\u" * 9999])
def test_hopeless_text_is_given_up_on(hostile):
    with pytest.raises(ParseError):
        decode(b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % hostile)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"n":[1.50,1E400,-0.0,1e+05,0.1e-7]}',
        b'{"n":' + b"9" * 5000 + b"}",
        rb'{"s":"\u00e9\/\ud83d\ude00\u0000\n"}',
        '{"s":"é😀\u2028"}'.encode(),
        b'{ "z" : 1 ,\t"a":\t2 }',
        b'{"twice":1,"twice":2}',
        b'{"deep":' + b"[" * 500 + b"]" * 500 + b"}",
        b"{}",
        b"{  }",
    ],
)
def test_payloads_travel_byte_for_byte(payload):
    for data in (
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":%b}' % payload,
        b'{"jsonrpc":"2.0","method":"m","params":%b}' % payload,
        b'{"jsonrpc":"2.0","id":"a","result":%b}' % payload,
        b'{"jsonrpc":"2.0","id":1,"error":%b}' % payload,
        b'{"jsonrpc":"2.0","error":%b}' % payload,
    ):
        assert encode(decode(data)) == data


def test_white_space_around_a_payload_is_no_part_of_it():
    message = decode(b'{"jsonrpc":"2.0","method":"m","params" : \n { "a":1 } \t}')
    assert message == Notification("m", Raw(b'{ "a":1 }'))


@pytest.mark.requirement("basic/transports/index#messages-1")
@given(MESSAGES)
def test_what_was_encoded_decodes_to_the_same(message):
    assert decode(encode(message)) == message


@pytest.mark.requirement("basic/transports/stdio#introduction-1")
@given(IDS, st.text(), OBJECTS)
def test_pretty_printed_payloads_become_one_line_of_the_same_content(request_id, method, value):
    for encoded, name in (
        (encode_request(request_id, method, pretty(value)), "params"),
        (encode_notification(method, pretty(value)), "params"),
        (encode_response(request_id, pretty(value)), "result"),
        (encode_failure(request_id, pretty(value)), "error"),
        (encode_failure(None, pretty(value)), "error"),
    ):
        assert b"\n" not in encoded
        assert b"\r" not in encoded
        content = json.loads(encoded)
        assert content[name] == value
        assert content["jsonrpc"] == "2.0"
        assert content.get("method", method) == method
        assert content.get("id") in {request_id, None}


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_the_documented_errors(data):
    for form in (data, bytearray(data), Raw(data)):
        try:
            decode(form)
        except (ParseError, InvalidRequest):
            continue


@given(
    MESSAGES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 9), st.binary(max_size=4)))
)
def test_damaged_messages_raise_nothing_but_the_documented_errors(message, damages):
    data = encode(message)
    for at, length, replacement in damages:
        start = at % (len(data) + 1)
        data = data[:start] + replacement + data[start + length :]
    peek_id(data)
    try:
        again = decode(data)
    except (ParseError, InvalidRequest):
        return
    assert decode(encode(again)) == again


@given(
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "x"]),
        JSON | st.just("2.0"),
    )
)
def test_arbitrary_envelopes_raise_nothing_but_invalid_request(envelope):
    data = json.dumps(envelope).encode()
    try:
        message = decode(data)
    except InvalidRequest:
        return
    assert envelope["jsonrpc"] == "2.0"
    assert isinstance(message, Request | Notification | Response | Failure)


@pytest.mark.parametrize(
    ("data", "request_id"),
    [
        (b'{"id":1}', 1),
        (b'{"id":"a","jsonrpc":"1.0"}', "a"),
        (b'{"id":0}', 0),
        (b'{"id":null}', None),
        (b'{"id":true}', None),
        (b'{"id":1.5}', None),
        (b'{"id":' + b"9" * 5000 + b"}", None),
        (b"{}", None),
        (b"[1]", None),
        (b'{"id":1', None),
        (b'{"id":1,"x":' + DEEP + b"}", None),
        (b'{"id":"\xff"}', None),
        (b"", None),
    ],
)
def test_an_id_is_found_in_what_is_no_message(data, request_id):
    assert peek_id(data) == request_id
    assert peek_id(Raw(data)) == request_id


def test_a_batch_is_split_into_its_messages():
    data = b' \r\n[ {"jsonrpc":"2.0","id":1,"method":"m"} , 1.50 ]\n'
    batch = decode_batch(data, 2)
    assert batch is not None
    assert [bytes(message) for message in batch] == [
        b'{"jsonrpc":"2.0","id":1,"method":"m"}',
        b"1.50",
    ]
    assert decode(batch[0]) == Request(1, "m")
    with pytest.raises(InvalidRequest):
        decode(batch[1])


@pytest.mark.parametrize("data", [b"{}", b"", b"null", b'"["', b" {"])
def test_what_is_no_array_is_no_batch(data):
    assert decode_batch(data, 10) is None


@pytest.mark.parametrize("data", [b"[", b"[{]", b"[1,]", b"[]x", DEEP, b"[" * 100_000])
def test_a_broken_batch_is_a_parse_error(data):
    with pytest.raises(ParseError):
        decode_batch(data, 10)


@pytest.mark.parametrize("data", [b"[]", b"[ ]", b"[1,2,3]"])
def test_a_batch_that_is_empty_or_too_long_is_refused(data):
    with pytest.raises(InvalidRequest, match="1 to 2 messages"):
        decode_batch(data, 2)


def test_broken_utf8_in_a_batch_is_found_when_its_message_is_decoded():
    batch = decode_batch(b'[{"jsonrpc":"2.0","id":1,"result":"\xff"}]', 1)
    assert batch is not None
    with pytest.raises(ParseError):
        decode(batch[0])


@pytest.mark.requirement("basic/index#notifications-2")
def test_a_notification_is_built_from_values():
    built = notification("notifications/progress", {"progress": 1, "raw": Raw(b"1.50")})
    assert encode(built) == (
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"raw":1.50}}'
    )
