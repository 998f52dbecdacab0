"""Headers by name, whatever holds them."""

from __future__ import annotations

import pytest

from onemcp.protocol.httpheaders import IndexedHeaders, values_of

HEADERS = [(b"Host", b"here"), (b"accept", b"a"), (b"ACCEPT", b"b"), (b"accept", b"")]


@pytest.mark.parametrize("kind", [list, tuple, IndexedHeaders])
def test_all_values_of_a_header_are_found_in_order(kind: type):
    headers = kind(HEADERS)
    assert list(headers) == HEADERS
    assert list(values_of(headers, b"accept")) == [b"a", b"b", b""]
    assert list(values_of(headers, b"host")) == [b"here"]
    assert list(values_of(headers, b"origin")) == []
