"""What makes a retry the same request, and a question the same question."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.multiplexer.requeststate import PURPOSE, State, fingerprint, question_digest
from onemcp.protocol.fields import raw
from onemcp.state import Keyring, Sealer

digests = st.binary(min_size=32, max_size=32)
states = st.builds(
    State,
    principal=st.text(),
    request=digests,
    expires=st.floats(allow_nan=False),
    instance=st.text(),
    call=st.text(),
    round=st.integers(0, 100),
    asked=st.dictionaries(st.text(), digests),
    given=st.lists(st.tuples(digests, st.binary())),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(states)
def test_a_state_comes_back_as_it_was_sealed(state: State):
    sealer = Sealer(Keyring.ephemeral(), PURPOSE, State)
    assert sealer.open(sealer.seal(state)) == state


def params(**members: Any) -> dict[str, Raw]:
    return {key: raw(value) for key, value in members.items()}


@given(json_values, st.randoms())
def test_the_order_of_members_makes_no_difference(value: Any, random):
    def shuffled(each: Any) -> Any:
        if isinstance(each, dict):
            pairs = [(key, shuffled(inner)) for key, inner in each.items()]
            random.shuffle(pairs)
            return dict(pairs)
        return [shuffled(inner) for inner in each] if isinstance(each, list) else each

    one = {"name": raw("t"), "arguments": raw(value)}
    other = {"arguments": Raw(json.dumps(shuffled(value), indent=1).encode()), "name": raw("t")}
    assert fingerprint(None, "tools/call", one) == fingerprint(None, "tools/call", other)


@given(json_values, json_values)
def test_other_arguments_make_another_request(one: Any, other: Any):
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    digest = fingerprint(None, "tools/call", params(arguments=one))
    assert digest != fingerprint(None, "tools/call", params(arguments=other))


@pytest.mark.parametrize(
    ("endpoint", "method", "members"),
    [
        ("alpha", "tools/call", {"name": "t", "arguments": {}}),
        (None, "prompts/get", {"name": "t", "arguments": {}}),
        (None, "tools/call", {"name": "u", "arguments": {}}),
        (None, "tools/call", {"name": "t"}),
        (None, "tools/call", {"uri": "t", "arguments": {}}),
    ],
)
def test_everything_salient_counts(endpoint, method, members):
    one = fingerprint(None, "tools/call", params(name="t", arguments={}))
    assert one != fingerprint(endpoint, method, params(**members))


def test_what_a_retry_adds_does_not_count():
    more = params(name="t", _meta={"a": 1}, requestState="s", inputResponses={}, unheardOf=1)
    assert fingerprint(None, "m", more) == fingerprint(None, "m", params(name="t"))


def test_what_is_nested_too_deeply_is_told_apart_all_the_same():
    deep = [Raw(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":%d}' % n) for n in (1, 2)]
    assert question_digest("m", deep[0]) != question_digest("m", deep[1])
    assert question_digest("m", Raw(b'{"a":1, "b":2}')) == question_digest(
        "m", Raw(b'{"b":2,"a":1}')
    )
