"""What a backend was told in confidence is taken out of what it says."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from onemcp.backend import BackendDown, ItemRejected, Redactor, redactor_for
from onemcp.backend.connection import ConnectionLost, HandshakeFailed
from onemcp.config import ClientCredentialsLogin, HttpTransport, StdioTransport

SECRET = 'p"ss wörd\\/1'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        quote(SECRET),
        quote(SECRET, safe=""),
    ],
)
def test_a_secret_is_known_however_it_is_written(written):
    redact = Redactor([SECRET])
    shown = redact(f"failed with {written}!")
    assert "***" in shown
    assert "wör" not in shown
    assert "ss" not in shown


def test_of_two_secrets_the_longer_one_is_hidden_whole():
    assert Redactor(["secret", "secret-word"])("a secret-word, a secret") == "a ***, a ***"


def test_a_secret_of_several_lines_is_hidden_in_each():
    redact = Redactor(["-----BEGIN-----\nMIIBVgIBADANBg\n-----END-----\n"])
    assert redact("key: MIIBVgIBADANBg") == "key: ***"


def test_what_is_short_is_found_everywhere_and_so_not_looked_for():
    redact = redactor_for(StdioTransport(command="x", env={"LEVEL": "info"}), None, {})
    assert redact("info: it starts") == "info: it starts"
    assert Redactor(["", "abc"])("abc") == "abc"


def test_secrets_that_change_are_asked_for_each_time():
    known: set[str] = set()
    redact = Redactor((), lambda: known)
    assert redact("first token") == "first token"
    known.add("token")
    assert redact("first token") == "first ***"


def test_what_a_program_gets_is_secret():
    transport = StdioTransport(command="x", env={"KEY": "configured"}, inherit=("MINE",))
    redact = redactor_for(transport, None, {"MINE": "inherited", "OTHER": "something else"})
    assert redact("configured, inherited, something else") == "***, ***, something else"


def test_what_a_request_carries_is_secret():
    transport = HttpTransport(
        url="https://user:word@example.com/services/0123456789abcdef/mcp?key=of-the-query",
        headers={"X-Key": "of-the-header"},
        auth=ClientCredentialsLogin(client_id="one", client_secret="of-the-client"),
    )
    redact = redactor_for(transport, None, {})
    basic = base64.b64encode(b"user:word").decode()
    said = f"/services/0123456789abcdef/mcp?key=of-the-query of-the-header {basic} of-the-client"
    assert redact(said) == "/services/***/mcp?key=*** *** *** ***"


def test_events_and_losses_keep_all_but_the_secret():
    redact = Redactor(["secret"])
    down = BackendDown("secret", "it said secret", None)
    assert redact.event(down) == BackendDown("secret", "it said ***", None)
    item = ItemRejected("a", "tool secret", "bad")
    assert redact.event(item) == ItemRejected("a", "tool ***", "bad")
    lost = HandshakeFailed("the secret", "last secret words")
    hidden = lost.redacted(redact)
    assert (type(hidden), hidden.reason, hidden.detail) == (
        HandshakeFailed,
        "the ***",
        "last *** words",
    )
    known = ConnectionLost("it ended")
    assert known.redacted(redact) is known
