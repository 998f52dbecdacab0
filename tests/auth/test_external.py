"""Tokens of authorization servers elsewhere."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from onemcp.auth import (
    ExternalIssuer,
    Gate,
    InvalidToken,
    KeySet,
    Reason,
    Resource,
    TokenVerifier,
    Unauthorized,
    parse_jwks,
)

NOW = 1_800_000_000
NAME = "https://id.example.com/team"
HERE = Resource("https://mcp.example.com", "/mcp")
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
OKP = Ed25519PrivateKey.generate()


def jwk(key_id: str, algorithm: str, private, **more) -> dict:
    kind = jwt.get_algorithm_by_name(algorithm)
    return json.loads(kind.to_jwk(private.public_key())) | {"kid": key_id, "use": "sig"} | more


JWKS = {
    "keys": [
        jwk("ec", "ES256", EC),
        jwk("rsa", "RS256", RSA, alg="RS256"),
        jwk("okp", "EdDSA", OKP),
        jwk("enc", "RS256", RSA, use="enc"),
        jwk("small", "RS256", rsa.generate_private_key(65537, 1024)),  # noqa: S505  (refused for it)
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "EC", "kid": "broken"},
        "nonsense",
    ]
}
KEYS = parse_jwks(json.dumps(JWKS).encode())


def token(claims=None, header=None, *, key=EC, algorithm="ES256", without=(), **more) -> str:
    good = {"iss": NAME, "aud": HERE.uri, "sub": "ada", "exp": NOW + 60, "scope": "mcp"}
    payload = good | (claims or {}) | more
    payload = {name: value for name, value in payload.items() if name not in without}
    headers = {"typ": "at+jwt", "kid": "ec"} | (header or {})
    return jwt.encode(payload, key, algorithm, headers)


def verifier(**more) -> TokenVerifier:
    issuer = ExternalIssuer(name=NAME, keys=KeySet(KEYS), **more)
    return TokenVerifier(None, external=[issuer])


def test_keys_that_cannot_verify_are_passed_over():
    assert [key.key_id for key in KEYS] == ["ec", "rsa", "okp"]
    assert repr(KeySet(KEYS)) == "<KeySet of 3>"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no list of "keys"'),
        (b'{"keys": 1}', 'no list of "keys"'),
        (b'{"keys": []}', "none of its keys"),
        (b'{"keys": [{"kty": "oct", "kid": "a", "k": "c2VjcmV0"}]}', "none of its keys"),
        (b'{"keys": [' + b"1," * 200 + b"1]}", "more than 100 keys"),
        (b" " * 300_000, "larger than"),
    ],
)
def test_a_file_without_keys_is_refused(data, why):
    with pytest.raises(ValueError, match=why):
        parse_jwks(data)


@pytest.mark.parametrize(
    ("key_id", "key", "algorithm"),
    [("ec", EC, "ES256"), ("rsa", RSA, "RS256"), ("okp", OKP, "EdDSA")],
)
def test_a_token_of_the_issuer_tells_who_is_calling(key_id, key, algorithm):
    signed = token({"client_id": "app"}, {"kid": key_id}, key=key, algorithm=algorithm)
    principal = verifier().verify(signed, NOW, HERE)
    assert (principal.subject, principal.client_id, principal.issuer) == ("ada", "app", NAME)
    assert principal.scopes == {"mcp"}
    assert principal.identity == json.dumps([NAME, "app", "ada"])


def by_hand(header: dict, claims: dict, sign) -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)]
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts]
    signature = base64.urlsafe_b64encode(sign(b".".join(encoded))).rstrip(b"=")
    return b".".join([*encoded, signature]).decode()


def with_public_key_as_secret() -> str:
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": NAME, "aud": HERE.uri, "sub": "ada", "exp": NOW + 60}
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "rsa"}
    return by_hand(header, claims, lambda data: hmac.digest(public, data, hashlib.sha256))


def unsigned() -> str:
    claims = {"iss": NAME, "aud": HERE.uri, "sub": "ada", "exp": NOW + 60}
    return by_hand({"alg": "none", "typ": "at+jwt", "kid": "ec"}, claims, lambda _: b"x")


OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.requirement(
    "basic/authorization/index#token-requirements-1", "basic/authorization/index#token-handling-1"
)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (with_public_key_as_secret(), Reason.ALGORITHM),
        (unsigned(), Reason.ALGORITHM),
        (token(key=OTHER), Reason.SIGNATURE),
        (token(key=RSA, algorithm="RS256"), Reason.ALGORITHM),
        (token(key=RSA, algorithm="PS256", header={"kid": "rsa"}), Reason.ALGORITHM),
        (token(header={"kid": "gone"}), Reason.KEY),
        (token(header={"kid": "enc"}), Reason.KEY),
        (token(header={"crit": ["x"]}), Reason.MALFORMED),
        (token(header={"typ": "JWT"}), Reason.TYPE),
        (token(header={"typ": "id+jwt"}), Reason.TYPE),
        (token(iss="https://id.example.com/team/"), Reason.ISSUER),
        (token(iss="onemcp"), Reason.ISSUER),
        (token(without=["iss"]), Reason.ISSUER),
        (token(aud="https://other.example/mcp"), Reason.AUDIENCE),
        (token(aud=f"{HERE.uri}/files"), Reason.AUDIENCE),
        (token(aud=["x"] * 100), Reason.AUDIENCE),
        (token(aud={}), Reason.AUDIENCE),
        (token(without=["aud"]), Reason.AUDIENCE),
        (token(without=["sub"]), Reason.CLAIMS),
        (token(without=["exp"]), Reason.CLAIMS),
        (token(sub=""), Reason.CLAIMS),
        (token(client_id=7), Reason.CLAIMS),
        (token(scope=7), Reason.CLAIMS),
        (token(scope=[7]), Reason.CLAIMS),
        (token(exp=NOW - 31), Reason.EXPIRED),
        (token(nbf=NOW + 31), Reason.NOT_YET_VALID),
    ],
)
def test_a_bad_token_lets_nobody_in(bad, reason):
    with pytest.raises(InvalidToken) as refused:
        verifier().verify(bad, NOW, HERE)
    assert refused.value.reason is reason


def test_keys_that_a_token_brings_along_are_not_looked_at():
    mine = jwk("ec", "ES256", OTHER)
    with pytest.raises(InvalidToken) as refused:
        verifier().verify(token(header={"jwk": mine}, key=OTHER), NOW, HERE)
    assert refused.value.reason is Reason.SIGNATURE


def test_a_type_counts_only_if_it_is_configured():
    assert verifier(token_types=["JWT"]).verify(token(header={"typ": "JWT"}), NOW, HERE)
    assert verifier().verify(token(header={"typ": "application/AT+JWT"}), NOW, HERE)
    with pytest.raises(InvalidToken):
        verifier(token_types=["JWT"]).verify(token(), NOW, HERE)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a  b"}, {"a", "b"}),
        ({"scp": ["c"]}, {"c"}),
        ({"scp": "c d"}, {"c", "d"}),
        ({}, set()),
    ],
)
def test_scopes_are_those_of_the_token_and_of_the_configuration(claims, scopes):
    signed = token(claims, without=["scope"] if "scope" not in claims else [])
    assert verifier().verify(signed, NOW, HERE).scopes == scopes
    assert verifier(scopes=["mcp"]).verify(signed, NOW, HERE).scopes == scopes | {"mcp"}


@pytest.mark.parametrize(
    ("admins", "scopes"), [((), {"mcp"}), (("eve",), {"mcp"}), (("ada",), {"mcp", "admin"})]
)
def test_only_subjects_named_for_it_are_believed_to_be_administrators(admins, scopes):
    signed = token({"scope": "mcp admin"})
    assert verifier(admins=admins).verify(signed, NOW, HERE).scopes == scopes
    assert verifier(scopes=["admin"]).verify(token(), NOW, HERE).scopes.isdisjoint({"admin"})


def test_a_token_for_the_gateway_is_good_for_its_endpoints():
    check, signed = verifier(), token(aud=["urn:other", "https://MCP.example.com/"])
    for path in ("", "/mcp", "/mcp/files"):
        assert check.verify(signed, NOW, Resource(HERE.origin, path)).subject == "ada"


def test_a_key_that_is_not_known_is_reported_once_replaced_it_verifies():
    missed = []
    keys = KeySet(on_miss=lambda: missed.append(1))
    check = TokenVerifier(None, external=[ExternalIssuer(name=NAME, keys=keys)])
    with pytest.raises(InvalidToken):
        check.verify(token(), NOW, HERE)
    assert missed == [1]
    keys.replace(KEYS)
    assert check.verify(token(), NOW, HERE).subject == "ada"


def test_a_revoked_token_is_refused_though_it_is_remembered():
    standing = [True]
    issuer = ExternalIssuer(name=NAME, keys=KeySet(KEYS))
    check = TokenVerifier(None, external=[issuer], stands=lambda _: standing[0])
    assert check.verify(token(), NOW, HERE)
    standing[0] = False
    with pytest.raises(InvalidToken) as refused:
        check.verify(token(), NOW, HERE)
    assert refused.value.reason is Reason.REVOKED


@pytest.mark.requirement(
    "basic/authorization/authorization-server-discovery#authorization-server-location-1",
    "basic/authorization/authorization-server-discovery#authorization-server-location-2",
    "basic/authorization/authorization-server-discovery#protected-resource-metadata-discovery-requirements-1",
    "basic/authorization/index#scope-selection-strategy-1",
    "basic/authorization/index#refresh-tokens-4",
)
def test_the_challenge_tells_where_to_get_a_token():
    gate = Gate(mode="external", verifier=verifier(), issuers=[NAME])
    host = [(b"host", b"LocalHost:8722")]
    with pytest.raises(Unauthorized) as refused:
        gate.authenticate(host, NOW, "/mcp/files")
    assert refused.value.www_authenticate == (
        'Bearer realm="onemcp", resource_metadata='
        '"http://localhost:8722/.well-known/oauth-protected-resource/mcp/files", '
        'scope="backend:files view:files"'
    )
    bad = [*host, (b"authorization", b"Bearer x")]
    with pytest.raises(Unauthorized) as refused:
        gate.authenticate(bad, NOW, "/mcp")
    assert 'error="invalid_token"' in refused.value.www_authenticate
    assert 'scope="mcp"' in refused.value.www_authenticate


def test_the_public_address_is_what_tokens_are_for():
    gate = Gate(
        mode="external", verifier=verifier(), issuers=[NAME], public_url="https://mcp.example.com"
    )
    for host in (b"mcp.example.com", b"mcp.example.com:443", b"127.0.0.1:8722"):
        headers = [(b"host", host), (b"authorization", f"Bearer {token()}".encode())]
        gate.check_host(headers)
        assert gate.authenticate(headers, NOW, "/mcp").subject == "ada"
