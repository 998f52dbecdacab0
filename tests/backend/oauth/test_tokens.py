"""Requests for tokens, and their answers."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from onemcp.backend.oauth import LoginNeeded, NotNow, OAuthError, Registration, Tokens
from onemcp.backend.oauth._metadata import ServerMetadata
from onemcp.backend.oauth._tokens import method_for, prove, read_tokens, sign_assertion

ISSUER = "https://id.example.com"


def answer(**members: object) -> bytes:
    return json.dumps({"access_token": "t", "token_type": "bearer", **members}).encode()


def read(status: int = 200, body: bytes = b"", asked: tuple[str, ...] = ("a",)) -> Tokens:
    return read_tokens(status, body, asked=asked, now=100.0)


def test_an_answer_is_read():
    said = answer(expires_in=60, refresh_token="r", scope="b c")
    assert read(body=said) == Tokens("t", "r", 100.0, 60.0, ("b", "c"))
    assert read(body=answer()) == Tokens("t", None, 100.0, None, ("a",))


@pytest.mark.parametrize("value", ["60", 60, 60.0])
def test_lifetimes_may_be_written_in_any_way(value):
    assert read(body=answer(expires_in=value)).renew_at == 148.0


@pytest.mark.parametrize("value", ["soon", -1, 0, "nan", "inf"])
def test_a_lifetime_that_is_none_is_not_said(value):
    assert read(body=answer(expires_in=value)).renew_at is None


def test_tokens_are_renewed_a_minute_ahead():
    assert read(body=answer(expires_in=3600)).renew_at == 3640.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        answer(token_type="mac"),
        answer(access_token="a b"),
        answer(access_token=""),
    ],
)
def test_nonsense_is_no_token(body):
    with pytest.raises(OAuthError) as error:
        read(body=body)
    assert not isinstance(error.value, NotNow | LoginNeeded)


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unauthorized_client"])
def test_the_end_of_a_login_is_told_from_other_failures(code):
    with pytest.raises(LoginNeeded, match=code):
        read(400, json.dumps({"error": code, "error_description": "secret"}).encode())


@pytest.mark.parametrize("status", [500, 503, 429])
def test_some_failures_pass(status):
    with pytest.raises(NotNow):
        read(status, b"{}")


@pytest.mark.parametrize("body", [b"<html>", b'{"error": 1}', b'{"error": "bad\\n"}'])
def test_what_else_is_said_is_not_repeated(body):
    with pytest.raises(OAuthError, match=r"\(HTTP 400\)$"):
        read(400, body)


@pytest.mark.parametrize(
    ("supported", "secret", "method"),
    [
        (None, "s", "client_secret_basic"),
        (("client_secret_post",), "s", "client_secret_post"),
        (("client_secret_post", "client_secret_basic"), "s", "client_secret_basic"),
        (("none",), "s", "none"),
        (("private_key_jwt",), "s", "client_secret_basic"),
        (("client_secret_basic",), None, "none"),
    ],
)
def test_how_onemcp_proves_who_it_is(supported, secret, method):
    server = ServerMetadata(ISSUER, ISSUER, token_endpoint_auth_methods_supported=supported)
    assert method_for(server, secret) == method


def test_a_secret_goes_where_the_method_says():
    basic = prove({}, Registration(ISSUER, "a:b", "c d", "client_secret_basic"), None)
    assert base64.b64decode(basic.headers["authorization"].removeprefix("Basic ")) == b"a%3Ab:c%20d"
    assert basic.form == {}
    post = prove({}, Registration(ISSUER, "a", "c", "client_secret_post"), None)
    assert post.form == {"client_id": "a", "client_secret": "c"}
    none = prove({}, Registration(ISSUER, "a", "c", "none"), None)
    assert (none.form, none.headers) == ({"client_id": "a"}, {})
    assert "c d" not in repr(basic)
    assert "'c'" not in repr(post)


def test_a_key_signs_for_the_issuer_alone():
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signed = sign_assertion(pem, "ES256", "me", ISSUER, 1000)
    claims = jwt.decode(
        signed,
        key.public_key(),
        algorithms=["ES256"],
        audience=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("me", "me", 60)
    request = prove({}, Registration(ISSUER, "me"), lambda: signed)
    assert request.form["client_assertion"] == signed
    for other in (b"no key", b"\xff"):
        with pytest.raises(OAuthError, match="privateKeyFile"):
            sign_assertion(other, "ES256", "me", ISSUER, 1000)


@pytest.mark.requirement("basic/authorization/index#refresh-tokens-1")
def test_secrets_are_not_in_what_is_printed():
    shown = repr(Tokens("access", "fresh")) + repr(Registration(ISSUER, "me", "hidden"))
    assert not any(secret in shown for secret in ("'access'", "fresh", "hidden"))
