"""Scopes, passwords, limits, forms and records, each for itself."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth import Principal
from onemcp.auth._passwords import hash_password, is_hash, verify_password
from onemcp.auth._scopes import Scope, in_words, meet, parse_scopes
from onemcp.auth.server import (
    ALL,
    Form,
    Grant,
    Ledger,
    LogIn,
    LoginCode,
    OAuthError,
    Person,
    Policy,
    Records,
    TooManyRequests,
    change_records,
    of_client,
    of_user,
    read_records,
)
from onemcp.auth.server._limits import MAX_KNOWN, RateLimit
from onemcp.auth.server._people import CODE_ATTEMPTS, Door
from onemcp.auth.server._records import MAX_GRANTS_ALIKE
from onemcp.state import StateError

NOW = 1_800_000_000.0


# --- scopes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["mcp", "mcp:read", "backend:a.b-c_d", "tag:x:read", "view:v", "tool:files/read_*", "admin"],
)
def test_a_scope_is_written_as_it_is_read(text):
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MCP",
        "mcp:write",
        "admin:read",
        "backend",
        "backend:",
        "backend:a b",
        "tool:a",
        "tool:a/",
        "openid",
        "tool:a/b:read",
        "backend:a:read:read",
        "mcp\n",
        "view:" + "x" * 65,
        'tag:"',
    ],
)
def test_what_is_no_scope_opens_nothing(text):
    assert Scope.parse(text) is None


ORDER = [
    ("mcp", "backend:a"),
    ("mcp", "mcp:read"),
    ("mcp", "tool:a/b"),
    ("mcp:read", "backend:a:read"),
    ("backend:a", "backend:a:read"),
    ("backend:a", "tool:a/b*"),
    ("tool:a/*", "tool:a/b"),
    ("tool:a/b*", "tool:a/b*c"),
    ("view:a", "view:a:read"),
]


@pytest.mark.parametrize(("broad", "narrow"), ORDER)
def test_the_broader_implies_the_narrower_and_not_the_other_way_round(broad, narrow):
    [high], [low] = parse_scopes([broad]), parse_scopes([narrow])
    assert high.implies(low)
    assert high.implies(high)
    assert not low.implies(high)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("backend:a", "backend:b"),
        ("backend:a", "view:a"),
        ("backend:a", "tool:b/x"),
        ("mcp:read", "tool:a/b"),
        ("mcp:read", "backend:a"),
        ("tool:a/x", "tool:a/y"),
        ("tool:a/*x", "tool:a/*"),
        ("tool:a/x", "tool:b/x"),
        ("backend:a:read", "tool:a/x"),
        ("mcp", "admin"),
        ("admin", "mcp"),
        ("admin", "backend:admin"),
        ("mcp:read", "admin"),
    ],
)
def test_scopes_that_have_nothing_to_do_with_each_other(one, other):
    [first], [second] = parse_scopes([one]), parse_scopes([other])
    assert not first.implies(second)


WORDS = st.sampled_from(
    [word for pair in ORDER for word in pair] + ["tool:b/*", "tag:x", "admin", "junk"]
)


def test_reading_is_what_is_left_where_only_one_side_may_write():
    asked, allowed = parse_scopes(["backend:a", "mcp"]), parse_scopes(["mcp:read"])
    assert in_words(meet(asked, allowed)) == "mcp:read"
    assert in_words(meet(parse_scopes(["backend:a"]), allowed)) == "backend:a:read"
    asked = parse_scopes(["mcp", "backend:a"])
    assert meet(asked, parse_scopes(["mcp"])) == asked


@given(st.sets(WORDS), st.sets(WORDS))
def test_nobody_gets_what_was_not_both_asked_for_and_allowed(asked, allowed):
    left, right = parse_scopes(asked), parse_scopes(allowed)
    both = meet(left, right)
    for scope in both:
        assert any(each.implies(scope) for each in left)
        assert any(each.implies(scope) for each in right)


PATTERNS = st.text("ab*", min_size=1, max_size=6)


@given(PATTERNS, PATTERNS, st.text("ab"))
def test_a_pattern_that_implies_another_matches_all_that_it_matches(one, other, name):
    broad = Scope.parse(f"tool:x/{one}")
    narrow = Scope.parse(f"tool:x/{other}")
    assert broad is not None
    assert narrow is not None
    if broad.implies(narrow) and narrow.opens_tools_like(name):
        assert broad.opens_tools_like(name)


# --- passwords -----------------------------------------------------------------------------------

ARGON = (
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$HYMXLl3sSFYLaQzXGKVZ/AWoHPk5zNvQfVhaeWnVSgI"
)


def test_a_password_is_verified_by_its_hash():
    stored = hash_password("correct horse")
    assert is_hash(stored)
    assert verify_password("correct horse", stored)
    assert not verify_password("wrong horse", stored)
    assert not verify_password("", stored)
    assert not verify_password("x" * 2000, stored)
    assert hash_password("correct horse") != stored


def test_argon2id_is_understood():
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415

    made = Argon2id(salt=b"s" * 16, length=32, iterations=1, lanes=1, memory_cost=64)
    stored = made.derive_phc_encoded(b"pw")
    assert is_hash(stored)
    assert verify_password("pw", stored)
    assert not verify_password("other", stored)
    assert is_hash(ARGON)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$scrypt$ln=30,r=8,p=1$c2FsdHNhbHRzYWx0$" + "a" * 43,
        "$2b$12$" + "a" * 53,
        "$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQ$" + "a" * 43,
        "$argon2i$v=19$m=64,t=1,p=1$a$b",
    ],
)
def test_what_is_no_hash_or_would_cost_too_much_is_refused(text):
    assert not is_hash(text)


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_a_password_that_is_none_is_not_hashed(password):
    with pytest.raises(ValueError, match="1 to 1024"):
        hash_password(password)


# --- people --------------------------------------------------------------------------------------

POLICY = Policy(people={"ada": Person(name="ada", password=hash_password("right"))})


RIGHT = "right"


def attempt(name="ada", password=RIGHT, code="", address="a") -> LogIn:
    return LogIn(name, password, code, address)


async def test_who_knows_the_password_gets_in():
    assert await Door().open(attempt(), POLICY, NOW) == "ada"


@pytest.mark.parametrize("wrong", [attempt(password="x"), attempt("eve"), attempt("", "")])
async def test_who_does_not_is_told_the_same_whatever_is_wrong(wrong):
    with pytest.raises(OAuthError) as refused:
        await Door().open(wrong, POLICY, NOW)
    assert refused.value.description == "That is not right. Try again."
    assert "right" not in repr(wrong)


async def test_guessing_is_slow_by_address_and_by_name():
    door = Door()
    for _ in range(10):
        with pytest.raises(OAuthError, match="not right"):
            await door.open(attempt(password="x"), POLICY, NOW)
    for address in ("a", "b"):
        with pytest.raises(TooManyRequests):
            await door.open(attempt(address=address), POLICY, NOW)
    with pytest.raises(TooManyRequests):
        await door.open(attempt("eve"), POLICY, NOW)
    assert await door.open(attempt(address="c"), POLICY, NOW + door.longest) == "ada"


async def test_the_code_on_the_terminal_lets_in_once():
    shown: list[str] = []
    door = Door(LoginCode(shown.append))
    with pytest.raises(OAuthError):
        await door.open(attempt(code="AAAA-AAAA"), POLICY, NOW)
    assert await door.open(attempt(code=shown[0].lower().replace("-", " ")), POLICY, NOW) == "local"
    assert len(shown) == 2
    with pytest.raises(OAuthError):
        await door.open(attempt(code=shown[0]), POLICY, NOW)
    assert await door.open(attempt(code=shown[1]), POLICY, NOW) == "local"
    assert shown[0] not in repr(door.code)


def test_a_code_does_not_survive_guessing():
    shown: list[str] = []
    code = LoginCode(shown.append)
    for _ in range(CODE_ATTEMPTS):
        assert not code.take("guess")
    assert not code.take(shown[0])
    assert code.take(shown[1])


async def test_without_a_terminal_no_code_lets_in():
    with pytest.raises(OAuthError):
        await Door().open(attempt(code="x"), POLICY, NOW)


# --- limits --------------------------------------------------------------------------------------


def test_so_many_come_through_in_a_period():
    limit = RateLimit(3, 30.0)
    for who in ("a", "a", "b", "a"):
        limit.check(who, 0)
    with pytest.raises(TooManyRequests) as refused:
        limit.check("a", 0)
    assert refused.value.retry_after == 10
    limit.check("a", 10)
    with pytest.raises(TooManyRequests):
        limit.check("a", 10)


def test_those_who_are_known_are_bounded():
    limit = RateLimit(1, 60.0)
    for number in range(MAX_KNOWN + 10):
        limit.check(str(number), 0)
    assert str(MAX_KNOWN) in repr(limit)


# --- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"a=1&a=1",
        b"a=1&a=",
        b"a=%ff",
        "a=\u00e9".encode(),
        b"&".join(b"a%d=1" % n for n in range(65)),
        b"a=" + b"x" * 20_000,
    ],
)
def test_a_form_that_is_malformed_is_refused(data):
    with pytest.raises(OAuthError) as refused:
        Form.parse(data)
    assert refused.value.code == "invalid_request"


@pytest.mark.parametrize("value", ["x" * 5000, "a\nb", "\0", "\u202e"])
def test_a_value_that_is_malformed_is_refused_when_it_is_read(value):
    with pytest.raises(OAuthError):
        Form({"a": value}).get("a")


def test_a_parameter_without_a_value_counts_as_left_out():
    form = Form.parse(b"a=&b=%20x")
    assert form.get("a") is None
    assert form.need("b") == " x"
    assert "x" not in repr(form).replace("Form", "")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_refused_in_the_one_way(data):
    try:
        form = Form.parse(data)
        form.get("a")
    except OAuthError as error:
        assert error.code == "invalid_request"  # noqa: PT017


# --- records -------------------------------------------------------------------------------------


def grant(number: int = 0, **changes) -> Grant:
    fields = {
        "id": f"g{number}",
        "client_id": "app",
        "subject": "ada",
        "scopes": ("mcp",),
        "resource": "https://x",
        "created": 0,
        "used": number,
        "expires": 10**10,
        "idle": 10**10,
    }
    return Grant(**(fields | changes))


def principal(**changes) -> Principal:
    fields = {
        "subject": "ada",
        "scopes": frozenset(),
        "client_id": "app",
        "token_id": "t",
        "expires_at": NOW + 60,
        "issued_at": int(NOW),
    }
    return Principal(**(fields | changes))


def test_what_was_revoked_does_not_stand():
    records = Records().with_grant(grant())
    assert records.stands(principal())
    assert records.stands(principal(grant_id="g0"))
    assert not records.stands(principal(grant_id="g1"))
    assert not records.without_grants(lambda _: True).stands(principal(grant_id="g0"))
    assert not records.without_token("t", NOW + 60).stands(principal())
    for key in (ALL, of_user("ada"), of_client("app")):
        ended = records.with_cutoff(key, NOW + 0.5)
        assert not ended.stands(principal())
        assert ended.stands(principal(issued_at=int(NOW) + 1))
    assert records.with_cutoff(of_user("bob"), NOW + 1).stands(principal())


def test_grants_alike_are_bounded_and_the_longest_unused_goes():
    records = Records()
    for number in range(MAX_GRANTS_ALIKE + 3):
        records = records.with_grant(grant(number))
    assert len(records.grants) == MAX_GRANTS_ALIKE
    assert "g0" not in records.grants
    assert len(records.with_grant(grant(99, subject="bob")).grants) == MAX_GRANTS_ALIKE + 1


async def test_two_instances_see_what_each_other_did(tmp_path):
    one, two = Ledger(tmp_path / "s"), Ledger(tmp_path / "s")
    await one.change(lambda records: (records.with_grant(grant(1)), None))
    await two.change(lambda records: (records.with_grant(grant(2)), None))
    await one.refresh()
    assert one.records == two.records
    assert len(one.records.grants) == 2


async def test_a_change_that_fails_changes_nothing(tmp_path):
    ledger = Ledger(tmp_path / "s")
    await ledger.change(lambda records: (records.with_grant(grant()), None))

    def fail(_records):
        raise OAuthError("x", "x")

    with pytest.raises(OAuthError):
        await ledger.change(fail)
    assert read_records(tmp_path / "s") == ledger.records
    async with trio.open_nursery() as nursery:
        for number in range(10):
            change = grant(number, subject=f"s{number}")
            nursery.start_soon(ledger.change, lambda r, c=change: (r.with_grant(c), None))
    assert len(read_records(tmp_path / "s").grants) == 10


def test_a_damaged_file_is_told_with_a_remedy(tmp_path):
    change_records(tmp_path, lambda records: (records.with_grant(grant()), None))
    path = tmp_path / "oauth.json"
    for damage in (b"", b"{", b'{"grants": {"a": {}}}', path.read_bytes()[:-3]):
        path.write_bytes(damage)
        with pytest.raises(StateError, match=r"oauth.json is damaged.*move it away"):
            read_records(tmp_path)


@pytest.mark.requirement("basic/authorization/security-considerations#token-theft-1")
def test_only_the_owner_may_read_the_file(tmp_path):
    change_records(tmp_path, lambda records: (records.with_grant(grant()), None))
    path = tmp_path / "oauth.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        read_records(tmp_path)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from onemcp.auth.server import Registration, change_records

    number = 0
    while True:
        number += 1
        uris = ("https://x/" + "y" * 900,)
        client = Registration(
            id=f"c{number}", name="x", redirect_uris=uris, grant_types=(), created=10**10
        )
        change_records(Path(sys.argv[1]), lambda r: (r.with_client(client), None))
        print(number, flush=True)
""")


def test_a_writer_killed_at_any_moment_has_made_its_change_or_not(tmp_path):
    told = 0
    for lines in (1, 2, 5, 9):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                told = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        clients = read_records(tmp_path).clients
        assert f"c{told}" in clients, "what was reported is on the disk"
        json.dumps({key: attrs.asdict(client) for key, client in clients.items()})
