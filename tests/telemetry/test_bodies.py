"""Bodies in the log: bounded, and without what looks secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onemcp.telemetry import BodyScrubber
from onemcp.telemetry._bodies import LARGEST_BODY

SECRET = "hunter2SEKRIT"
OPAQUE = "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"


def shown(value: Any, *names: str) -> Any:
    return BodyScrubber.of(names).show(json.dumps(value).encode())


@pytest.mark.parametrize(
    "planted",
    [
        {"password": SECRET},
        {"a": [{"X-Api-Key": SECRET}]},
        {"accessToken": {"value": SECRET}},
        {"client_secret": [SECRET]},
        {"headers": {"X-Whatever": SECRET}},
        {"url": f"https://example.com/path?key={SECRET}&b=1"},
        {"url": f"https://example.com/path#{SECRET}"},
        {"text": f"see https://me:{SECRET}@example.com/x, please"},
        {"text": f"Authorization: Bearer {SECRET}"},
        {"text": f"export API_KEY={SECRET}; run"},
        {"text": f'{{"password": "{SECRET}"}}'},
        {"text": "the key is sk-" + SECRET},
        {"text": "eyJhbGciOiJIUzI1NiJ9." + SECRET + ".x"},
        {"x": f"{OPAQUE}{SECRET}"},
        {SECRET + OPAQUE: 1},
        ["AKIA" + SECRET],
    ],
)
def test_what_looks_secret_is_left_out(planted: Any):
    assert SECRET not in json.dumps(shown(planted))


@pytest.mark.parametrize(
    "planted",
    [
        {"iban": SECRET},
        {"customer": {"I-B-A-N": SECRET}},
        {"text": f"IBAN: {SECRET}"},
        {"text": f'"iban"="{SECRET}"'},
    ],
)
def test_names_can_be_added(planted: Any):
    assert SECRET in json.dumps(shown(planted))
    assert SECRET not in json.dumps(shown(planted, "iban"))


def test_the_rest_can_be_read():
    said = {
        "name": "add",
        "arguments": {"a": 1, "b": 2.5, "c": None, "d": True, "city": "Zürich, 8004"},
        "path": "/usr/share/doc/python3.11/README.Debian.gz",
        "url": "https://example.com/a/b",
        "id": "0b91ff6e-6e0c-4b6f-9d7e-2f1f7f3a9c11",
    }
    assert shown(said) == said


def test_everything_is_bounded():
    assert shown("x y " * 10_000).endswith("[40000 characters]")
    assert len(shown("x y " * 10_000)) < 300
    assert len(shown(list(range(10_000)))) == 64
    assert len(shown({f"k{number} ": 1 for number in range(1000)})) == 64
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    assert "bottom" not in json.dumps(shown(deep))
    assert shown("x" * LARGEST_BODY) == f"[{LARGEST_BODY + 2} bytes]"
    assert BodyScrubber.of(()).show(b"{nonsense") == "[malformed]"
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
