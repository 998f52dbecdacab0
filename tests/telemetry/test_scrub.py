from __future__ import annotations

import enum
import json
import math
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.config import HttpTransport, StdioTransport
from onemcp.telemetry import scrub
from onemcp.telemetry._scrub import LONGEST_TEXT, MOST_ITEMS, describe, is_secret, scrub_text

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, as it is: ümläut 日本 🎲", "plain text, as it is: ümläut 日本 🎲"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("one\ntwo\r\nthree\tfour", r"one\ntwo\r\nthree\tfour"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\u2029c\u0085d", r"a\u2028b\u2029c\x85d"),
        ("half \ud83d pair", r"half \ud83d pair"),
        ("null \x00 and delete \x7f", r"null \x00 and delete \x7f"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
    ],
)
def test_control_characters_are_escaped_and_nothing_else(text, shown):
    assert scrub(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {JWT}", "Authorization: [redacted]"),
        ("got bearer abc.def, retrying", "got bearer [redacted], retrying"),
        ("BEARER\tabc", r"BEARER\t[redacted]"),
        ("'Basic dXNlcjpwYXNz'", "'Basic [redacted]'"),
        ("basic functionality works", "basic functionality works"),
        (f"token is {JWT}!", "token is [redacted]!"),
        (f"cut {JWT[:30]}", "cut [redacted]"),
        ("GET https://ada:pass@host/x", "GET https://[redacted]@host/x"),
        (
            "GET https://host/x?a=1&access_token=abc&b=2",
            "GET https://host/x?a=1&access_token=[redacted]&b=2",
        ),
        ('{"password": "hunter 2", "user": "ada"}', '{"password": [redacted], "user": "ada"}'),
        (
            "AWS_SECRET_ACCESS_KEY=abc GITHUB_TOKEN='x y'",
            "AWS_SECRET_ACCESS_KEY=[redacted] GITHUB_TOKEN=[redacted]",
        ),
        ("api-key: abc", "api-key: [redacted]"),
        ("Set-Cookie: a=b; c=d", "Set-Cookie: [redacted]"),
        ("using ghp_abcdefghijklmnop", "using [redacted]"),
        ("sk-abcdefghijklmnop", "[redacted]"),
        ("the token was refused", "the token was refused"),
    ],
)
def test_secrets_are_taken_out_of_text(text, shown):
    assert scrub(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Authorization", "access_token", "accessToken", "TOKENS", "client_secret",
        "password", "passwd", "headers", "env", "environ", "x-api-key", "Set-Cookie", "credentials",
        "private_key", "auth",
    ],
)  # fmt: skip
def test_what_goes_by_the_name_of_a_secret_is_hidden(name):
    assert is_secret(name)
    assert scrub({name: "hush"}) == {name: "[redacted]"}
    assert scrub([{"x": {name: ["hush"]}}]) == [{"x": {name: "[redacted]"}}]
    assert scrub({name: None}) == {name: None}


@pytest.mark.parametrize("name", ["backend", "reason", "event", "environs", "author", "child"])
def test_other_names_are_not(name):
    assert not is_secret(name)


class Colour(enum.Enum):
    RED = "red\x1b"


@attrs.frozen
class Point:
    x: int
    secret: str = "hush"
    hidden: str = attrs.field(default="hush", repr=False)
    brief: str = attrs.field(default="hush", repr=len)


class Own(int):
    def __repr__(self) -> str:
        return "\x1b"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (10**400, "[huge integer]"),
        (Own(3), 3),
        (b"bytes \xff\x1b", r"bytes \xff\x1b"),
        (Path("/x\x1b"), r"/x\x1b"),
        (Colour.RED, r"red\x1b"),
        ((1, [2, {3}]), [1, [2, [3]]]),
        ({1: Path("x")}, {"1": "x"}),
        ({"a\x1b": 1}, {r"a\x1b": 1}),
        (Point(1), {"x": 1, "secret": "[redacted]", "brief": 4}),
        (ValueError("bad\nvalue"), r"ValueError: bad\nvalue"),
        (int, "<class 'int'>"),
    ],
)
def test_every_value_becomes_one_that_json_has(value, shown):
    assert scrub(value) == shown
    json.dumps(scrub(value), allow_nan=False)


def test_configuration_shows_no_secret():
    stdio = StdioTransport(command="x", args=("--key", "hush"), env={"A": "hush"})
    http = HttpTransport(url="https://u:hush@host/p?q=hush", headers={"X": "hush"})
    assert "hush" not in str(scrub([stdio, http]))


def test_all_is_bounded():
    assert scrub("x" * 10**6) == "x" * LONGEST_TEXT + " [truncated]"
    assert scrub(b"x" * 10**6) == "x" * LONGEST_TEXT
    assert len(scrub(list(range(1000)))) == MOST_ITEMS
    assert len(scrub(dict.fromkeys(map(str, range(1000))))) == MOST_ITEMS
    loop: list[object] = []
    loop.append(loop)
    assert scrub(loop) == [[[[[["[...]"]]]]]]
    tree: dict[str, object] = {}
    tree["a"] = tree
    assert "{...}" in str(scrub(tree))


def test_secret_that_is_cut_in_two_does_not_show():
    padding = "x" * (LONGEST_TEXT - 10) + " "
    assert JWT[:6] not in scrub(padding + JWT)
    padding = "x" * (LONGEST_TEXT - 20) + " "
    assert "hush" not in scrub(padding + "password=" + "hush" * 100)


def test_lines_may_stay_but_are_indented():
    text = 'Traceback\n  File "x"\r\nValueError: \x1b[0m\n2026 [info] forged'
    assert scrub_text(text, lines=True).split("\n") == [
        "Traceback",
        '      File "x"',
        r"    ValueError: \x1b[0m",
        "    2026 [info] forged",
    ]


def test_exceptions_are_described_with_their_causes():
    error = RuntimeError("outer")
    error.__cause__ = KeyError("inner")
    assert describe(error) == "RuntimeError: outer (because of KeyError: 'inner')"
    group = BaseExceptionGroup("all", [error, ExceptionGroup("more", [OSError()])])
    assert describe(group) == f"{describe(error)}; OSError"
    error.__cause__ = error
    assert len(describe(error)) < 300
    for _ in range(20):
        group = BaseExceptionGroup("nested", [group])
    assert describe(group) == "..."


@given(st.text(max_size=200))
def test_no_text_leaves_anything_unsafe(text):
    shown = scrub(text)
    assert isinstance(shown, str)
    assert shown.isprintable() or " " in shown or not shown.isascii()
    assert not set(shown) & {chr(code) for code in [*range(32), *range(127, 160)]}
    shown.encode()


@pytest.mark.parametrize(
    "start", ["eyJ", "bearer ", "token=", 'token="', "://", "basic ", "sk-", "secret"]
)
@pytest.mark.parametrize("part", ["a", " ", ".", "=", "secret", "://a", 'token="', "\\"])
def test_hostile_text_takes_little_time(start, part):
    text = start + part * (20_000 // len(part))
    before = time.process_time()
    scrub(text)
    assert time.process_time() - before < 1.0
