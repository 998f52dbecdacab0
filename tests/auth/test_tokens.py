import hashlib
import hmac
import json
import math
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from onemcp.auth import (
    ANONYMOUS,
    InvalidToken,
    KeyStore,
    Principal,
    Reason,
    Resource,
    SigningKey,
    TokenVerifier,
)

SKEW = 30.0


HERE = Resource("http://127.0.0.1:8722", "/mcp")


def reason_of(verifier: TokenVerifier, token: str, now: float) -> Reason:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(token, now, HERE)
    assert str(refused.value) == "The access token is invalid or has expired"
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    return refused.value.reason


def join(*parts: str) -> str:
    return ".".join(parts)


def unsecured(forge, **changes) -> str:
    parts = forge.sign(forge.header(**changes)).split(".")
    return join(parts[0], parts[1], "")


def signed_with_the_public_key_as_a_secret(forge, encoding, form) -> str:
    secret = forge.keys.newest.public.public_bytes(encoding, form)
    head = forge.sign(forge.header(alg="HS256")).rpartition(".")[0]
    mac = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    return f"{head}.{jwt.utils.base64url_encode(mac).decode()}"


def with_part(token: str, index: int, part: str) -> str:
    parts = token.split(".")
    parts[index] = part
    return join(*parts)


STRANGER = SigningKey.generate(1_700_000_000)

BAD_TOKENS = {
    "empty": (lambda _: "", Reason.MALFORMED),
    "no segments": (lambda _: "token", Reason.MALFORMED),
    "two segments": (lambda f: f.issue().rpartition(".")[0], Reason.MALFORMED),
    "doubled": (lambda f: join(f.issue(), f.issue()), Reason.MALFORMED),
    "an extra segment": (lambda f: f.issue() + ".e30", Reason.MALFORMED),
    "a line end": (lambda f: f.issue() + "\n", Reason.MALFORMED),
    "a space before": (lambda f: " " + f.issue(), Reason.MALFORMED),
    "padding": (lambda f: f.issue() + "==", Reason.MALFORMED),
    "not ascii": (lambda f: f.issue() + "é", Reason.MALFORMED),
    "a lone surrogate": (lambda f: f.issue() + "\ud800", Reason.MALFORMED),
    "huge": (lambda f: f.sign(claims=f.claims(sub="a" * 8192)), Reason.OVERSIZE),
    "megabytes": (lambda _: "a" * 5_000_000, Reason.OVERSIZE),
    "header no base64": (lambda f: with_part(f.issue(), 0, "a"), Reason.MALFORMED),
    "header no json": (lambda f: with_part(f.issue(), 0, "aGVsbG8"), Reason.MALFORMED),
    "header a list": (lambda f: with_part(f.issue(), 0, "W10"), Reason.MALFORMED),
    "header deep": (
        lambda f: with_part(f.issue(), 0, jwt.utils.base64url_encode(b"[" * 4000).decode()),
        Reason.MALFORMED,
    ),
    "alg none, unsigned": (lambda f: unsecured(f, alg="none"), Reason.MALFORMED),
    "alg none, signed": (lambda f: f.sign(f.header(alg="none")), Reason.ALGORITHM),
    "alg None": (lambda f: f.sign(f.header(alg="None")), Reason.ALGORITHM),
    "alg missing": (lambda f: f.sign({"typ": "at+jwt", "kid": "k"}), Reason.ALGORITHM),
    "alg a number": (lambda f: f.sign(f.header(alg=1)), Reason.ALGORITHM),
    "alg RS256": (lambda f: f.sign(f.header(alg="RS256")), Reason.ALGORITHM),
    "alg ES256": (lambda f: f.sign(f.header(alg="ES256")), Reason.ALGORITHM),
    "HS256 with the public PEM": (
        lambda f: signed_with_the_public_key_as_a_secret(
            f, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ),
        Reason.ALGORITHM,
    ),
    "HS256 with the public bytes": (
        lambda f: signed_with_the_public_key_as_a_secret(f, Encoding.Raw, PublicFormat.Raw),
        Reason.ALGORITHM,
    ),
    "typ JWT": (lambda f: f.sign(f.header(typ="JWT")), Reason.TYPE),
    "typ missing": (lambda f: f.sign({"alg": "EdDSA", "kid": "k"}), Reason.TYPE),
    "typ of a refresh token": (lambda f: f.sign(f.header(typ="rt+jwt")), Reason.TYPE),
    "typ a list": (lambda f: f.sign(f.header(typ=["at+jwt"])), Reason.TYPE),
    "kid missing": (lambda f: f.sign({"alg": "EdDSA", "typ": "at+jwt"}), Reason.MALFORMED),
    "kid a number": (lambda f: f.sign(f.header(kid=1)), Reason.MALFORMED),
    "kid unknown": (lambda f: f.sign(f.header(kid="../../etc/passwd")), Reason.KEY),
    "crit": (lambda f: f.sign(f.header(crit=["exp"], exp=1)), Reason.MALFORMED),
    "unencoded payload": (lambda f: f.sign(f.header(b64=False, crit=["b64"])), Reason.MALFORMED),
    "its own key along": (lambda f: f.sign(f.header(jwk={"kty": "OKP"})), Reason.MALFORMED),
    "a key elsewhere": (lambda f: f.sign(f.header(jku="https://evil")), Reason.MALFORMED),
    "another key, our kid": (lambda f: f.sign(private=STRANGER.private), Reason.SIGNATURE),
    "another key, its kid": (
        lambda f: f.sign(f.header(kid=STRANGER.key_id), private=STRANGER.private),
        Reason.KEY,
    ),
    "another payload": (
        lambda f: with_part(f.sign(), 1, f.sign(claims=f.claims(sub="eve")).split(".")[1]),
        Reason.SIGNATURE,
    ),
    "signature of zeros": (lambda f: with_part(f.issue(), 2, "A" * 86), Reason.SIGNATURE),
    "signature too short": (lambda f: with_part(f.issue(), 2, "AAAA"), Reason.SIGNATURE),
    "payload no json": (lambda f: f.sign(claims=b"hello"), Reason.MALFORMED),
    "payload not utf-8": (lambda f: f.sign(claims=b'"\xff"'), Reason.MALFORMED),
    "payload deep": (lambda f: f.sign(claims=b"[" * 5000), Reason.MALFORMED),
    "payload a huge number": (lambda f: f.sign(claims=b"9" * 5000), Reason.MALFORMED),
    "payload a list": (lambda f: f.sign(claims=b"[]"), Reason.CLAIMS),
    "wrong issuer": (lambda f: f.sign(claims=f.claims(iss="https://evil")), Reason.ISSUER),
    "issuer with a slash": (lambda f: f.sign(claims=f.claims(iss=f.issuer + "/")), Reason.ISSUER),
    "wrong audience": (lambda f: f.sign(claims=f.claims(aud="https://other")), Reason.AUDIENCE),
    "part of the audience": (
        lambda f: f.sign(claims=f.claims(aud=f.audience[:-1])),
        Reason.AUDIENCE,
    ),
    "other audiences": (lambda f: f.sign(claims=f.claims(aud=["a", "b", {}])), Reason.AUDIENCE),
    "audience an object": (lambda f: f.sign(claims=f.claims(aud={})), Reason.AUDIENCE),
    "no audience": (lambda f: f.sign(claims=f.claims(aud=None)), Reason.AUDIENCE),
    "scope ill formed": (lambda f: f.sign(claims=f.claims(scope="mcp  x")), Reason.CLAIMS),
    "scope a list": (lambda f: f.sign(claims=f.claims(scope=["mcp"])), Reason.CLAIMS),
    "exp a string": (lambda f: f.sign(claims=f.claims(exp="9999999999")), Reason.CLAIMS),
    "exp a float": (lambda f: f.sign(claims=f.claims(exp=9e9)), Reason.CLAIMS),
    "exp true": (lambda f: f.sign(claims=f.claims(exp=True)), Reason.CLAIMS),
    "exp infinite": (lambda f: f.sign(claims=f.claims(exp=math.inf)), Reason.CLAIMS),
    "expired by 1 s beyond the skew": (
        lambda f: f.sign(claims=f.claims(exp=int(f.now - SKEW) - 1)),
        Reason.EXPIRED,
    ),
    "expired in another age": (
        lambda f: f.sign(claims=f.claims(exp=-(10**400))),
        Reason.EXPIRED,
    ),
    "valid from 1 s beyond the skew on": (
        lambda f: f.sign(claims=f.claims(nbf=int(f.now + SKEW) + 1)),
        Reason.NOT_YET_VALID,
    ),
    "valid in another age": (
        lambda f: f.sign(claims=f.claims(nbf=10**400, exp=10**401)),
        Reason.NOT_YET_VALID,
    ),
    **{
        f"without {name}": (
            lambda f, name=name: f.sign(
                claims={key: value for key, value in f.claims().items() if key != name}
            ),
            Reason.AUDIENCE if name == "aud" else Reason.CLAIMS,
        )
        for name in ("iss", "aud", "sub", "client_id", "scope", "jti", "iat", "nbf", "exp")
    },
    **{
        f"empty {name}": (
            lambda f, name=name: f.sign(claims=f.claims(**{name: ""})),
            Reason.CLAIMS,
        )
        for name in ("iss", "sub", "client_id", "scope", "jti", "exp")
    },
}


@pytest.mark.requirement(
    "basic/authorization/index#token-requirements-1",
    "basic/authorization/index#token-handling-1",
    "basic/authorization/security-considerations#access-token-privilege-restriction-2",
    "client/elicitation#identifying-the-user-2",
)
@pytest.mark.parametrize(("build", "reason"), BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_a_bad_token_lets_nobody_in(build, reason, forge, verifier):
    assert reason_of(verifier, build(forge), forge.now) is reason
    assert "<0 tokens>" in repr(verifier)


@pytest.mark.requirement("client/elicitation#statefulness-3")
def test_a_token_tells_who_is_calling(forge, verifier):
    token = forge.issue(subject="grace", scope="mcp admin", client_id="editor", lifetime=59.5)
    principal = verifier.verify(token, forge.now, forge.here)
    assert principal == Principal(
        subject="grace",
        scopes=frozenset({"mcp", "admin"}),
        client_id="editor",
        token_id=principal.token_id,
        expires_at=forge.now + 60,
        issued_at=forge.now,
        issuer=forge.issuer,
        audiences=frozenset({forge.audience}),
    )
    assert len(principal.token_id) >= 20


def test_every_token_has_an_id_of_its_own(forge, verifier):
    ids = {verifier.verify(forge.issue(), forge.now, forge.here).token_id for _ in range(20)}
    assert len(ids) == 20


def test_a_token_is_what_rfc_9068_says(forge):
    token = forge.issue()
    assert jwt.get_unverified_header(token) == forge.header()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.keys() == forge.claims().keys()
    assert claims == forge.claims(jti=claims["jti"])


def test_a_token_for_several_audiences_counts_for_each(forge, verifier):
    token = forge.sign(claims=forge.claims(aud=["https://other", forge.audience]))
    assert verifier.verify(token, forge.now, forge.here).subject == "ada"


def test_a_library_of_others_accepts_our_tokens(forge):
    token = forge.issue(now=time.time())
    claims = jwt.decode(
        token,
        forge.keys.newest.public,
        algorithms=["EdDSA"],
        audience=forge.audience,
        issuer=forge.issuer,
    )
    assert claims["sub"] == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"client_id": ""},
        {"lifetime": 0},
        {"lifetime": -1},
        {"lifetime": math.inf},
        {"lifetime": math.nan},
        {"scope": ""},
        {"scope": " mcp"},
        {"scope": 'say "mcp"'},
        {"subject": "a" * 8000},
    ],
    ids=str,
)
def test_a_token_that_nobody_accepts_is_not_issued(forge, changes):
    with pytest.raises(ValueError, match=r"token|scope"):
        forge.issue(**changes)


def test_expiry_allows_for_the_skew_and_is_checked_on_every_use(forge, verifier):
    token = forge.issue(lifetime=60)
    verifier.verify(token, forge.now, forge.here)
    verifier.verify(token, forge.now + 60 + SKEW - 0.001, forge.here)
    assert reason_of(verifier, token, forge.now + 60 + SKEW) is Reason.EXPIRED
    assert "<0 tokens>" in repr(verifier)


def test_not_before_allows_for_the_skew_and_is_checked_on_every_use(forge, verifier):
    token = forge.issue()
    verifier.verify(token, forge.now - SKEW, forge.here)
    assert reason_of(verifier, token, forge.now - SKEW - 1) is Reason.NOT_YET_VALID
    verifier.verify(token, forge.now, forge.here)


@pytest.mark.parametrize("skew", [-1, 121])
def test_the_skew_is_bounded(keys, skew):
    with pytest.raises(ValueError, match="skew"):
        TokenVerifier(keys, skew=skew)


def test_a_verified_token_is_looked_up_not_verified_again(forge, verifier, monkeypatch):
    token = forge.issue()
    first = verifier.verify(token, forge.now, forge.here)
    monkeypatch.setattr(TokenVerifier, "_check", None)
    assert verifier.verify(token, forge.now + 1, forge.here) is first


def test_the_longest_unused_token_is_forgotten_first(forge):
    verifier = TokenVerifier(forge.keys, capacity=2)
    one, two, three = (forge.issue() for _ in range(3))
    first, second = (
        verifier.verify(one, forge.now, forge.here),
        verifier.verify(two, forge.now, forge.here),
    )
    assert verifier.verify(one, forge.now, forge.here) is first
    verifier.verify(three, forge.now, forge.here)
    assert "<2 tokens>" in repr(verifier)
    assert verifier.verify(one, forge.now, forge.here) is first
    assert verifier.verify(two, forge.now, forge.here) is not second


def test_all_keys_verify_and_the_newest_signs(forge):
    newer = SigningKey.generate(forge.keys.newest.created + 1)
    rotated = KeyStore([*forge.keys.keys, newer])
    verifier = TokenVerifier(rotated)
    assert verifier.verify(forge.issue(), forge.now, forge.here).subject == "ada"
    token = type(forge)(rotated).issue()
    assert jwt.get_unverified_header(token)["kid"] == newer.key_id
    assert verifier.verify(token, forge.now, forge.here).subject == "ada"


def test_no_repr_shows_a_token(forge, verifier):
    token = forge.issue()
    principal = verifier.verify(token, forge.now, forge.here)
    shown = repr(verifier) + repr(principal)
    assert not any(part in shown for part in token.split("."))


def test_anonymous_never_expires_and_may_use_mcp():
    assert ANONYMOUS.expires_at == math.inf
    assert ANONYMOUS.scopes == {"mcp"}


def check_fuzzed(verifier: TokenVerifier, token: str, now: float) -> None:
    try:
        verifier.verify(token, now, HERE)
    except InvalidToken as refused:
        assert isinstance(refused.reason, Reason)  # noqa: PT017  (any other error fails the test)
    else:
        pytest.fail("a made-up token let somebody in")


@given(token=st.text() | st.from_regex(r"\A[A-Za-z0-9_-]{0,9}(\.[A-Za-z0-9_-]{0,9}){0,3}\Z"))
def test_any_text_is_refused_in_the_one_way(forge, token):
    check_fuzzed(TokenVerifier(forge.keys), token, forge.now)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip"]), JSON))
def test_any_header_is_refused_in_the_one_way(forge, header):
    verifier = TokenVerifier(forge.keys)
    check_fuzzed(verifier, forge.sign(header | {"x": 1}), forge.now)
    check_fuzzed(verifier, forge.sign(forge.header() | {"y": 1} | header), forge.now)


@given(name=st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "scope"]), value=JSON)
def test_any_claim_is_taken_or_refused_in_the_one_way(forge, name, value):
    verifier = TokenVerifier(forge.keys)
    token = forge.sign(claims=forge.claims(**{name: value}))
    try:
        principal = verifier.verify(token, forge.now, forge.here)
    except InvalidToken:
        return
    assert principal.subject == "ada"
    assert name in {"exp", "nbf", "iat", "scope"}


@given(payload=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_refused_in_the_one_way(forge, payload):
    verifier = TokenVerifier(forge.keys)
    check_fuzzed(verifier, forge.sign(claims=payload), forge.now)


@given(position=st.integers(0, 10_000), character=st.characters(codec="ascii"))
def test_a_token_changed_anywhere_is_refused(forge, position, character):
    token = forge.sign()
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        verifier = TokenVerifier(forge.keys)
        check_fuzzed(verifier, changed, forge.now)
